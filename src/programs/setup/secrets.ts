/**
 * Takes secrets out of texts: keys of key files and of lines that name one, PEM blocks, and words
 * that look like a key in base64. Names of key files stay. Pure.
 */

/** What stands in the place of a secret. */
export const REMOVED = "<removed>";

// Repetitions have bounds: texts of others must not make them try for ever.
const PATTERNS: readonly RegExp[] = [
  /(?<keep>-----BEGIN [A-Z ]{0,40}(?:PRIVATE KEY|SECRET)[A-Z ]{0,40}-----)[\s\S]*?(?=-----END|$)/g,
  // A key file of tsig-keygen(8), a key of nsd, knot or unbound, an assignment, an HTTP header.
  /(?<keep>\b(?:secret|password|passwd|passphrase|psk|preshared[-_]?key|private[-_]?key|api[-_]?key|token|authorization)"?\s{0,20}[:=]?\s{0,20}"?)(?:(?:bearer|basic)\s{1,20})?(?<value>[A-Za-z0-9+/=_.~-]{6,})/gi,
  // Base64 with its padding: 12 octets and more.
  /(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{16,}={1,2}(?![A-Za-z0-9+/=])/g,
];
/** Values of the words above that are no secrets. */
const PLAIN = /^(?:removed|none|missing|required|true|false|null|undefined|expected)$/i;

/** The text without secrets, and how many there were. */
export function withoutSecrets(text: string): { readonly text: string; readonly count: number } {
  let count = 0;
  let result = text;
  for (const pattern of PATTERNS) {
    result = result.replace(pattern, (whole: string, ...rest: unknown[]) => {
      const groups = rest.at(-1);
      const named = typeof groups === "object" && groups !== null ? groups : {};
      const { keep = "", value = "" } = named as { keep?: string; value?: string };
      if (PLAIN.test(value)) return whole;
      count++;
      return `${keep}${REMOVED}`;
    });
  }
  return { text: result, count };
}
