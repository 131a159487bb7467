/** A judge of the JSON Schema keywords that docs/ipref.schema.json uses (draft-07). */

type Schema = Readonly<Record<string, unknown>>;

/** Keywords that assert nothing. */
const NOTES = ["$schema", "title", "description", "default"];

/** Where a document breaks the schema; throws at a keyword that it does not know. */
export function schemaViolations(schema: Schema, value: unknown, at = ""): string[] {
  const found: string[] = [];
  for (const [keyword, wanted] of Object.entries(schema)) {
    if (NOTES.includes(keyword)) continue;
    const rule = RULES[keyword];
    if (rule === undefined) throw new Error(`unknown keyword ${keyword}`);
    found.push(...rule(wanted, value, schema));
  }
  return [...found.map((text) => `${at}: ${text}`), ...below(schema, value, at)];
}

type Rule = (wanted: unknown, value: unknown, schema: Schema) => string[];

const isTable = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  object: isTable,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: Number.isInteger,
};

const RULES: Readonly<Record<string, Rule>> = {
  type: (wanted, value) => (TYPES[String(wanted)]!(value) ? [] : [`expected ${wanted}`]),
  enum: (wanted, value) =>
    (wanted as unknown[]).includes(value) ? [] : [`expected one of ${wanted}`],
  pattern: (wanted, value) =>
    typeof value !== "string" || new RegExp(String(wanted)).test(value) ? [] : [`not ${wanted}`],
  minimum: (wanted, value) => (Number(value) < Number(wanted) ? [`below ${wanted}`] : []),
  maximum: (wanted, value) => (Number(value) > Number(wanted) ? [`above ${wanted}`] : []),
  additionalProperties: (wanted, value, schema) => {
    if (wanted !== false) throw new Error("only false is known");
    const known = Object.keys(schema.properties as Schema);
    const names = isTable(value) ? Object.keys(value) : [];
    return names.filter((name) => !known.includes(name)).map((name) => `unknown ${name}`);
  },
  properties: () => [],
  items: () => [],
};

function below(schema: Schema, value: unknown, at: string): string[] {
  const { properties, items } = schema as { properties?: Record<string, Schema>; items?: Schema };
  if (isTable(value) && properties !== undefined) {
    return Object.entries(value).flatMap(([name, each]) =>
      properties[name] === undefined
        ? []
        : schemaViolations(properties[name], each, `${at}.${name}`),
    );
  }
  if (Array.isArray(value) && items !== undefined) {
    return value.flatMap((each, index) => schemaViolations(items, each, `${at}[${index}]`));
  }
  return [];
}
