/**
 * docs/ipref.schema.json: the settings as JSON Schema, draft-07, which editors of TOML (Taplo, Even
 * Better TOML) use for completion and checks. It refuses unknown sections and settings, wrong types
 * and texts that are plainly wrong; `ipref config check` judges the rest. Pure.
 */

import { z } from "zod";
import { nameOfSetting, SETTINGS, type Setting } from "./settings.js";

/** Words for each section. */
export const SECTION_TEXTS: Readonly<Record<string, string>> = {
  files: "Where things are kept.",
  gateway: "The gateway: tunnel, encoded addresses, mappings.",
  resolver: "The DNS server that turns published names into encoded addresses.",
  publish: "The services that other networks reach.",
  metrics: "Metrics and health for monitoring.",
};

/** A JSON Schema, as far as it is used here. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** The schema of the configuration file. */
export function configurationSchema(): JsonSchema {
  const sections = [...new Set(SETTINGS.map(({ section }) => section))];
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Configuration of ipref up",
    description: "Made by scripts/write-configuration.js; docs/CONFIGURATION.md says the same.",
    ...closedObject(sections.map((section) => [section, sectionSchema(section)])),
  };
}

/** The schema as the text of the file. */
export function configurationSchemaText(): string {
  return `${JSON.stringify(configurationSchema(), null, 2)}\n`;
}

function sectionSchema(section: string): JsonSchema {
  const settings = SETTINGS.filter((setting) => setting.section === section);
  return {
    description: SECTION_TEXTS[section] ?? "",
    ...closedObject(settings.map((setting) => [setting.key, settingSchema(setting)])),
  };
}

function closedObject(entries: readonly (readonly [string, JsonSchema])[]): JsonSchema {
  return { type: "object", additionalProperties: false, properties: Object.fromEntries(entries) };
}

function settingSchema(setting: Setting): JsonSchema {
  const { $schema: _, ...rules } = z.toJSONSchema(setting.schema, { target: "draft-7" });
  const { preset, presetText, reload, meaning } = setting;
  const isValue = setting.schema.safeParse(preset).success;
  const reloadText = reload === "yes" ? "on reload" : "at the next start";
  return {
    title: nameOfSetting(setting),
    description: `${capital(meaning)}. Default: ${presetText ?? JSON.stringify(preset)}. In force ${reloadText}.`,
    ...rules,
    ...(isValue && { default: preset }),
  };
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
