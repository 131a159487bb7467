/**
 * A Corefile understood: every block with the settings of its directives. Pure reading; building
 * and starting come later (site.ts), so this is all that `-check` needs besides the zones.
 */

import { nearestWord } from "../base/nearest-word.js";
import { formatName, type Name } from "../wire/dns/name.js";
import type { ImportSource } from "./corefile/import.js";
import { ProblemList, parseCorefile } from "./corefile/parser.js";
import type { Directive, Problem, ServerBlock } from "./corefile/structure.js";
import type { EnvironmentVariables } from "./corefile/tokens.js";
import type { ParseContext, Plugin } from "./plugin.js";
import { bindKey } from "./plugins/bind/setup.js";
import { PLUGINS, REFUSED_PLUGINS } from "./registry.js";

/** spec/resolver.md 2.4. */
export const DNS_PORT = 53;

/** A zone and the port it is served on. */
export interface BlockZone {
  readonly zone: Name;
  readonly port: number;
}

/** One block with settings by directive name, in file order. */
export interface BlockConfiguration {
  readonly block: ServerBlock;
  readonly zones: readonly BlockZone[];
  readonly settings: ReadonlyMap<string, unknown>;
}

export interface Configuration {
  readonly blocks: readonly BlockConfiguration[];
  readonly problems: readonly Problem[];
  readonly hasErrors: boolean;
  readonly importedFiles: readonly string[];
}

/** Where a Corefile comes from. */
export interface CorefileInput {
  readonly text: string;
  /** Name in complaints, base of relative imports. */
  readonly file: string;
  readonly imports: ImportSource;
  readonly variables: EnvironmentVariables;
  /** Port for keys without one (`-dns.port`). */
  readonly defaultPort: number;
}

/** Reads and understands a Corefile; reports all problems of one run together. */
export async function readConfiguration(input: CorefileInput): Promise<Configuration> {
  const parsed = await parseCorefile(input.text, input.file, input.imports, input.variables);
  const list = new ProblemList();
  const blocks = parsed.blocks.map((block) => understandBlock(block, input.defaultPort, list));
  checkKeys(blocks, list);
  const problems = [...parsed.problems, ...list.problems];
  if (blocks.length === 0 && problems.length === 0) {
    const position = { file: input.file, line: 1, column: 1 };
    problems.push({ severity: "error", position, message: "Found no block, expected a zone" });
  }
  const hasErrors = problems.some((problem) => problem.severity === "error");
  return { blocks, problems, hasErrors, importedFiles: parsed.importedFiles };
}

function understandBlock(
  block: ServerBlock,
  defaultPort: number,
  list: ProblemList,
): BlockConfiguration {
  const zones = block.keys.flatMap((key) =>
    key.zones.map((zone) => ({ zone, port: key.port ?? defaultPort })),
  );
  const context: ParseContext = {
    keys: block.keys,
    zones: zones.map(({ zone }) => zone),
    error: (position, message) => list.error(position, message),
    warning: (position, message) => list.warning(position, message),
  };
  const settings = new Map<string, unknown>();
  for (const [name, occurrences] of groupDirectives(block.directives)) {
    const plugin = PLUGINS.find((known) => known.name === name);
    if (plugin === undefined) for (const other of occurrences) reportUnknown(other, list);
    else settings.set(name, readDirective(plugin, occurrences, context));
  }
  return { block, zones, settings };
}

function groupDirectives(directives: readonly Directive[]): Map<string, Directive[]> {
  const groups = new Map<string, Directive[]>();
  for (const directive of directives) {
    const group = groups.get(directive.name.text);
    if (group === undefined) groups.set(directive.name.text, [directive]);
    else group.push(directive);
  }
  return groups;
}

function readDirective(
  plugin: Plugin,
  occurrences: readonly Directive[],
  context: ParseContext,
): unknown {
  const second = occurrences[1];
  if (plugin.isOnce && second !== undefined) {
    const first = occurrences[0]!.name.position.line;
    context.error(
      second.name.position,
      `Found '${plugin.name}' again, expected it once in a block; first at line ${first}`,
    );
    return undefined;
  }
  return plugin.parse(occurrences, context);
}

function reportUnknown(directive: Directive, list: ProblemList): void {
  const { text, position } = directive.name;
  const wayOut = REFUSED_PLUGINS.get(text);
  if (wayOut !== undefined) {
    list.error(
      position,
      `Found '${text}', a CoreDNS plugin that ipref-coredns does not have; ${wayOut}`,
    );
    return;
  }
  const near = nearestWord(text, ["import", ...PLUGINS.map((plugin) => plugin.name)]);
  const hint = near === undefined ? "" : `; did you mean '${near}'?`;
  list.error(position, `Found '${text}', expected a directive${hint}`);
}

/** spec/resolver.md 2.4: no two blocks for the same zone, port and address. */
function checkKeys(blocks: readonly BlockConfiguration[], list: ProblemList): void {
  const seen = new Map<string, { readonly line: number; readonly bind: string }[]>();
  for (const { block, zones, settings } of blocks) {
    const bind = bindKey(settings.get("bind"));
    for (const { zone, port } of zones) {
      const key = `${zone.key}:${port}`;
      const others = seen.get(key) ?? [];
      const clash = others.find((other) => other.bind === bind || other.bind === "" || bind === "");
      if (clash !== undefined) {
        list.error(
          block.position,
          `Found zone ${formatName(zone)} on port ${port} again, expected it once for an address; ` +
            `first at line ${clash.line}`,
        );
      }
      seen.set(key, [...others, { line: block.position.line, bind }]);
    }
  }
}
