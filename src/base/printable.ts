/**
 * Text of others, such as names that came from DNS, on one line of a terminal or a log: nothing in
 * it can move the cursor, end a line or turn the writing direction.
 */

/** Controls, invisible formatting (which turns the writing direction), separators, lone halves. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text with such characters as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** Such a text of several lines, which stay lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

/** JSON text, itself valid, that cannot confuse a terminal either; its lines stay lines. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) =>
    character === "\n" ? character : escaped(character),
  );
}

/** Each UTF-16 unit, as JSON writes them. */
function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
