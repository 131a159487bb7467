/**
 * The commands of `ipref` that read their own arguments. One table for the program, its help, the
 * shells' completion and the manual pages. A command's module is loaded when it is needed.
 */

import type { Command } from "commander";

/** What the module of a command offers. */
export interface CommandModule {
  /** The command with all its options and arguments. */
  define(): Command;
  /** Runs it with the arguments behind its name; resolves to the exit status. */
  run(args: readonly string[]): Promise<number>;
}

/** One command. */
export interface CommandEntry {
  readonly name: string;
  /** Heading in the help text. */
  readonly group: string;
  readonly description: string;
  readonly load: () => Promise<CommandModule>;
}

const SETUP = "Set up:";
const RUN = "Run the system:";
const LOOK = "Look inside:";
const PUBLISH = "Publish hosts:";

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "init",
    group: SETUP,
    description: "look at this machine and write a configuration for it",
    load: () => import("./setup/init.js"),
  },
  {
    name: "config",
    group: SETUP,
    description: "check or show the configuration, or print its schema for editors",
    load: () => import("./setup/config.js"),
  },
  {
    name: "up",
    group: RUN,
    description: "run gateway, DNS server and DNS agent",
    load: () => import("./up.js"),
  },
  {
    name: "down",
    group: RUN,
    description: "end a running up and undo what it did",
    load: () => import("./down.js"),
  },
  {
    name: "doctor",
    group: LOOK,
    description: "find what is wrong, and how to put it right",
    load: () => import("./doctor/doctor.js"),
  },
  {
    name: "status",
    group: LOOK,
    description: "what runs, how it is, and what passes",
    load: () => import("./inspect/status.js"),
  },
  {
    name: "top",
    group: LOOK,
    description: "traffic, remote gateways, conversations and drops, live",
    load: () => import("./inspect/top.js"),
  },
  {
    name: "maps",
    group: LOOK,
    description: "list mappings: encoded addresses and references",
    load: () => import("./inspect/maps.js"),
  },
  {
    name: "peers",
    group: LOOK,
    description: "list remote gateways",
    load: () => import("./inspect/peers.js"),
  },
  {
    name: "explain",
    group: LOOK,
    description: "walk one packet through the gateway, or explain a drop reason",
    load: () => import("./inspect/explain.js"),
  },
  {
    name: "ping",
    group: LOOK,
    description: "send echo requests to a name or an IPREF address",
    load: () => import("./inspect/ping.js"),
  },
  {
    name: "traceroute",
    group: LOOK,
    description: "show the way to a name or an IPREF address",
    load: () => import("./inspect/traceroute.js"),
  },
  {
    name: "capture",
    group: LOOK,
    description: "capture packets on both sides of the gateway",
    load: () => import("./inspect/capture.js"),
  },
  {
    name: "bundle",
    group: LOOK,
    description: "collect what a bug report needs, without names and addresses",
    load: () => import("./setup/bundle.js"),
  },
  {
    name: "publish",
    group: PUBLISH,
    description: "publish a local host by name; publish -h tells how",
    load: () => import("./publish.js"),
  },
];
