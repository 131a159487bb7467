/** The layer rule (docs/ARCHITECTURE.md): imports point one way, without circles. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { filesBelow, importsOf } from "./source-files.js";

const BELOW_KERNEL = ["base", "wire", "tables"];
const BELOW_FORWARD = [...BELOW_KERNEL, "capture", "kernel", "mapper", "translate"];

/** What each layer may import, itself aside. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  wire: ["base"],
  tables: ["base", "wire"],
  capture: BELOW_KERNEL,
  kernel: BELOW_KERNEL,
  mapper: BELOW_KERNEL,
  translate: BELOW_KERNEL,
  broker: [...BELOW_KERNEL, "mapper"],
  dns: ["base", "wire"],
  agent: ["base", "wire", "dns"],
  forward: BELOW_FORWARD,
  control: [...BELOW_FORWARD, "forward", "broker", "dns", "agent"],
  platform: [...BELOW_KERNEL, "mapper"],
  programs: [...BELOW_FORWARD, "forward", "broker", "dns", "agent", "control", "platform"],
};

/** Layers whose types, and whose files of ports, `platform` may import: it implements them. */
const PORT_OWNERS = ["forward", "control", "broker", "dns", "agent"];

/** Packages, and the layers that may use them. */
const PACKAGE_USERS: Readonly<Record<string, readonly string[]>> = {
  koffi: ["platform"],
  lmdb: ["platform"],
  "smol-toml": ["control"],
  commander: ["programs"],
  zod: ["control", "programs"],
};

/** Layers that may use Node; the others are pure. */
const NODE_USERS = ["control", "platform", "programs"];

const sources = filesBelow(["src"], [".ts"]);

function layerOf(path: string): string {
  return path.split("/")[1]!;
}

test("every folder of src has a place in the layers", () => {
  const layers = [...new Set(sources.map(({ path }) => layerOf(path)))];
  for (const layer of layers) assert.ok(layer in MAY_IMPORT, `unknown layer ${layer}`);
});

test("imports between layers point one way", () => {
  for (const source of sources) {
    const layer = layerOf(source.path);
    for (const { target, file, isTypeOnly } of importsOf(source)) {
      if (file === undefined || layerOf(file) === layer) continue;
      const allowed = MAY_IMPORT[layer]!.includes(layerOf(file));
      const isContract = isTypeOnly || file.endsWith("/ports.ts");
      const isPort = layer === "platform" && isContract && PORT_OWNERS.includes(layerOf(file));
      assert.ok(allowed || isPort, `${source.path} must not import ${target}`);
    }
  }
});

test("packages are used by their layer only, Node by the outer layers only", () => {
  for (const source of sources) {
    const layer = layerOf(source.path);
    for (const { target, file } of importsOf(source)) {
      if (file !== undefined) continue;
      const users = target.startsWith("node:") ? NODE_USERS : PACKAGE_USERS[target.split("/")[0]!];
      assert.ok(users !== undefined, `${source.path}: unknown package ${target}`);
      assert.ok(users.includes(layer), `${source.path} must not import ${target}`);
    }
  }
});

test("no file imports itself through others", () => {
  const graph = new Map(
    sources.map((source) => {
      const files = importsOf(source).filter(({ isTypeOnly }) => !isTypeOnly);
      return [source.path, files.flatMap(({ file }) => file ?? [])];
    }),
  );
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    assert.ok(!trail.includes(path), `circle: ${[...trail, path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  assert.ok(done.size >= sources.length);
});
