import assert from "node:assert/strict";
import { test } from "node:test";
import { ProblemList } from "../../../src/dns/corefile/parser.js";
import { replaceVariables, tokenize } from "../../../src/dns/corefile/tokens.js";

function words(text: string, variables: Record<string, string> = {}) {
  const list = new ProblemList();
  const tokens = tokenize(text, "Corefile", (name) => variables[name], list);
  return { texts: tokens.map((token) => token.text), tokens, problems: list.problems };
}

test("tokenize() separates by white space and keeps line starts", () => {
  const { tokens } = words("\ufeffa b\r\n\tc {\n}\n");
  assert.deepEqual(
    tokens.map(({ text, startsLine, position }) => [
      text,
      startsLine,
      position.line,
      position.column,
    ]),
    [
      ["a", true, 1, 1],
      ["b", false, 1, 3],
      ["c", true, 2, 2],
      ["{", false, 2, 4],
      ["}", true, 3, 1],
    ],
  );
});

test("tokenize() skips comments at the start of a word only", () => {
  assert.deepEqual(words("a # b\n#c\nd").texts, ["a", "d"]);
  const inside = words("bind 127.0.0.2#my note\nlog");
  assert.equal(inside.problems.length, 1);
  assert.deepEqual(inside.problems[0]!.position, { file: "Corefile", line: 1, column: 15 });
  assert.match(inside.problems[0]!.message, /Found '#' inside the word '127.0.0.2'/);
});

test("tokenize() reads quoted words with line breaks and escapes", () => {
  const cases: [string, string[]][] = [
    ['"a b" c', ["a b", "c"]],
    ['""', [""]],
    ['"say \\"hi\\" \\n"', ['say "hi" \\n']],
    ['"a\nb"', ["a\nb"]],
    ['a"b', ['a"b']],
    ['"# no comment"', ["# no comment"]],
    ["foo{", ["foo{"]],
  ];
  for (const [text, expected] of cases) assert.deepEqual(words(text).texts, expected, text);
  assert.match(words('"a b').problems[0]!.message, /expected a closing quote/);
});

test("tokenize() counts lines inside quotes", () => {
  const { tokens } = words('"a\nb" c\nd');
  assert.deepEqual(
    tokens.map((token) => token.position.line),
    [1, 2, 3],
  );
  assert.deepEqual(
    tokens.map((token) => token.startsLine),
    [true, false, true],
  );
});

test("replaceVariables() replaces both forms, unset ones by nothing, and ends", () => {
  const variables: Record<string, string> = { A: "1", B: "{$A}", LOOP: "x{$LOOP}" };
  const replaced = (text: string) => replaceVariables(text, (name) => variables[name]);
  assert.equal(replaced("a{$A}b{%A%}c"), "a1b1c");
  assert.equal(replaced("{$B}"), "1");
  assert.equal(replaced("{$UNSET}"), "");
  assert.equal(replaced("{$}"), "{$}");
  assert.equal(replaced("{$LOOP}").startsWith("xxxxxxxxxxxxxxxx"), true);
  assert.deepEqual(words("bind {$A}", { A: "127.0.0.1 x" }).texts, ["bind", "127.0.0.1 x"]);
});
