/** Giving up root: the process becomes another user once its sockets are open. */

import { readFileSync } from "node:fs";

/** A function of Node that its type declarations lack. */
interface WithGroups {
  initgroups(user: string, extraGroup: number): void;
}

/** Becomes `name` with that user's groups, for good. Returns why it cannot. */
export function becomeUser(name: string): string | undefined {
  if (process.getuid?.() !== 0) return `Cannot become user '${name}': only root can`;
  const group = groupOf(name);
  if (group === undefined) return `Cannot become user '${name}': /etc/passwd has no such user`;
  (process as unknown as WithGroups).initgroups(name, group);
  process.setgid?.(group);
  process.setuid?.(name);
  return undefined;
}

/** Primary group: fourth field of passwd(5). */
function groupOf(name: string): number | undefined {
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  const fields = lines.map((line) => line.split(":")).find((line) => line[0] === name);
  return fields === undefined ? undefined : Number(fields[3]);
}
