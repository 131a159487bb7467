// The completion scripts in real shells: what bash, zsh and fish offer for a line.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { COMMANDS } from "../../src/programs/commands.js";
import { bashScript } from "../../src/programs/completion/bash.js";
import { fishScript } from "../../src/programs/completion/fish.js";
import { programShape } from "../../src/programs/completion/shape.js";
import { zshScript } from "../../src/programs/completion/zsh.js";
import { makeProgram } from "../../src/programs/ipref-program.js";

/** A line, and all that is offered for its last word; the folder holds home.toml and sub/. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ["ipref comple", ["completion"]],
  ["ipref completion ", ["bash", "fish", "zsh"]],
  ["ipref completion f", ["fish"]],
  ["ipref up --dn", ["--dns", "--dns-port"]],
  ["ipref up --dns ", ["print", "resolvectl"]],
  ["ipref up --config ho", ["home.toml"]],
  ["ipref up --upstream ho", []],
  ["ipref status --run s", ["sub/"]],
  ["ipref config ", ["check", "schema", "show"]],
  ["ipref config show --or", ["--origin"]],
  ["ipref config check ho", ["home.toml"]],
  ["ipref nonsense", []],
];

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript };
type Shell = keyof typeof SCRIPTS;

function whyNo(shell: string): string | false {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.some((folder) => existsSync(join(folder, shell))) ? false : `${shell} is missing`;
}

/** How each shell is asked: what it runs; `offers` takes the words from its output. */
const QUESTIONS: Readonly<
  Record<Shell, { ask: (line: string, script: string) => string; args: readonly string[] }>
> = {
  bash: {
    args: ["--norc", "-c"],
    ask: (line, script) => `
source ${script}
read -ra COMP_WORDS <<<${JSON.stringify(line)}
[[ ${JSON.stringify(line)} != *" " ]] || COMP_WORDS+=("")
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_ipref ipref "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD - 1]}"
for word in "\${COMPREPLY[@]}"; do [[ ! -d $word ]] || word+=/; echo "hit:$word"; done
`,
  },
  fish: {
    args: ["--no-config", "-c"],
    ask: (line, script) => `
source ${script}
complete -C ${JSON.stringify(line)} | string replace -r '\\t.*' '' | string replace -r '^' 'hit:'
`,
  },
  // A terminal of its own (zsh/zpty), where every word that is offered is also printed. The marks
  // are written otherwise in the commands, which the terminal shows as well. The line is typed when
  // the line editor has the terminal.
  zsh: {
    args: ["-f", "-c"],
    ask: (line, script) => `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "unsetopt zle_bracketed_paste; PROMPT=; TERM=dumb; autoload -Uz compinit"
zpty -w shell "compinit -D -u; source ${script}"
zpty -w shell 'compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
  typeset -a hits; builtin compadd -A hits "$@"
  local hit; for hit in $hits; do [[ ! -d $hit ]] || hit+=/; print "hi"t:$hit; done
  builtin compadd "$@"
}'
zpty -w shell "finish() { print END-OF-''OFFERS }; zle -C offer list-choices _main_complete"
zpty -w shell "bindkey '^T' offer; zle -N finish; bindkey '^X' finish"
zpty -w shell "zle-line-init() { print READY-\${(l:3::.:)} }; zle -N zle-line-init"
zpty -r -m shell text '*READY-...*'
zpty -w -n shell ${JSON.stringify(line)}$'\\x14'$'\\x18'
zpty -r -m shell text '*END-OF-OFFERS*'
print -r -- "$text"
zpty -d shell
`,
  },
};

describe("the completion of ipref", { concurrency: 1 }, () => {
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "ipref-completion-"));
    const program = await programShape(makeProgram(() => undefined));
    for (const [shell, write] of Object.entries(SCRIPTS)) {
      writeFileSync(join(folder, shell), write(program));
    }
    mkdirSync(join(folder, "here", "sub"), { recursive: true });
    writeFileSync(join(folder, "here", "home.toml"), "");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  function offers(shell: Shell, line: string): string[] {
    const { args, ask } = QUESTIONS[shell];
    const { stdout, stderr } = spawnSync(shell, [...args, ask(line, join(folder, shell))], {
      cwd: join(folder, "here"),
      env: { PATH: process.env.PATH, HOME: folder, LANG: "C.UTF-8" },
      encoding: "utf8",
      timeout: 20_000,
    });
    assert.equal(stderr, "", `${shell}: ${line}`);
    return [...new Set([...stdout.matchAll(/hit:([^\r\n]*)/g)].map(([, word]) => word ?? ""))]
      .map((word) => word.trim())
      .sort();
  }

  for (const shell of Object.keys(SCRIPTS) as Shell[]) {
    it(`offers in ${shell} what fits`, { skip: whyNo(shell) }, () => {
      for (const [line, expected] of CASES) assert.deepEqual(offers(shell, line), expected, line);
    });

    it(`offers in ${shell} every command`, { skip: whyNo(shell) }, () => {
      const words = offers(shell, "ipref ");
      for (const { name } of COMMANDS) assert.ok(words.includes(name), `${name} in ${words}`);
    });
  }
});
