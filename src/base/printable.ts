/**
 * Text of others, such as names that came from DNS, on one line of a terminal or a log: nothing in
 * it can move the cursor, end a line or turn the writing direction.
 */

// C0, delete, C1; line and paragraph separators; marks and overrides of direction (UAX 9)
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are
  /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** The text with such characters as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
