/** The difference of two texts by lines, as diff -u shows it but without cutting. Pure. */

/** Lines beyond this are compared in one piece: the table has the square of their number. */
const LINES_MAX = 2000;

/** Lines with "-" (only in `before`), "+" (only in `after`) or a blank in front. */
export function lineDifference(before: string, after: string): readonly string[] {
  const a = linesOf(before);
  const b = linesOf(after);
  if (a.length > LINES_MAX || b.length > LINES_MAX) {
    return [...a.map((line) => `-${line}`), ...b.map((line) => `+${line}`)];
  }
  const common = commonLengths(a, b);
  const found: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push(` ${a[i]}`);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      found.push(`-${a[i++]}`);
    } else found.push(`+${b[j++]}`);
  }
  return found;
}

function linesOf(text: string): readonly string[] {
  const lines = text.split("\n");
  return lines.at(-1) === "" ? lines.slice(0, -1) : lines;
}

/** Length of the longest common subsequence of the rests from i and from j. */
function commonLengths(a: readonly string[], b: readonly string[]): readonly Uint16Array[] {
  const rows = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      rows[i]![j] =
        a[i] === b[j] ? rows[i + 1]![j + 1]! + 1 : Math.max(rows[i + 1]![j]!, rows[i]![j + 1]!);
    }
  }
  return rows;
}

/** The same, with unchanged lines only near changed ones; "..." where lines are left out. */
export function shortDifference(lines: readonly string[], near = 2): readonly string[] {
  const isShown = lines.map((_, index) =>
    lines.slice(Math.max(0, index - near), index + near + 1).some((line) => !line.startsWith(" ")),
  );
  return lines.flatMap((line, index) => {
    if (isShown[index]) return [line];
    return index === 0 || isShown[index - 1] ? ["..."] : [];
  });
}
