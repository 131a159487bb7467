/**
 * What `ipref config show` prints: the values in force, as TOML or as data, with their origins.
 * A setting that the file leaves to the machine has the value that the machine gives it now. Pure.
 */

import { formatOrigin, type Origin } from "../../control/config/read.js";
import {
  nameOfSetting,
  SETTINGS,
  type Setting,
  type UpConfiguration,
} from "../../control/config/settings.js";
import { gatewayName } from "../up-plan.js";

/** What stands for settings without a value. */
export interface MachineValues {
  readonly upstreams: readonly string[];
  /** Where the upstreams come from. */
  readonly upstreamsFrom: string;
}

/** Where a value in force comes from. */
export type ValueOrigin =
  | Origin
  /** Found on the machine, now. */
  | { readonly kind: "machine"; readonly from: string }
  /** That of another setting. */
  | { readonly kind: "setting"; readonly from: string };

/** One setting in force. */
export interface ShownValue {
  readonly setting: Setting;
  /** Undefined: it has none. */
  readonly value: unknown;
  readonly origin: ValueOrigin;
}

/** Every setting with its value in force. */
export function shownValues(
  configuration: UpConfiguration,
  origins: ReadonlyMap<string, Origin>,
  machine: MachineValues,
): readonly ShownValue[] {
  const sections = configuration as unknown as Record<string, Record<string, unknown>>;
  return SETTINGS.map((setting) => {
    const value = sections[setting.section]![setting.key];
    const origin = origins.get(nameOfSetting(setting))!;
    if (!isEmpty(value)) return { setting, value, origin };
    return standIn(setting, configuration, machine) ?? { setting, value: undefined, origin };
  });
}

function isEmpty(value: unknown): boolean {
  return value === "" || (Array.isArray(value) && value.length === 0);
}

function standIn(
  setting: Setting,
  configuration: UpConfiguration,
  { upstreams, upstreamsFrom }: MachineValues,
): ShownValue | undefined {
  const name = nameOfSetting(setting);
  if (name === "resolver.upstream" && upstreams.length > 0) {
    return { setting, value: upstreams, origin: { kind: "machine", from: upstreamsFrom } };
  }
  const own = gatewayName(configuration);
  if (name === "publish.gateway" && own !== "") {
    return { setting, value: own, origin: { kind: "setting", from: "gateway.public" } };
  }
  return undefined;
}

/** As TOML; with `hasOrigins` every line ends with where its value comes from. */
export function valuesAsToml(values: readonly ShownValue[], hasOrigins: boolean): string {
  const sections = [...new Set(values.map(({ setting }) => setting.section))];
  const blocks = sections.map((section) => {
    const rows = values.filter(({ setting }) => setting.section === section).map(rowOf);
    const width = Math.max(...rows.map(({ text }) => text.length));
    const lines = rows.map(({ text, origin }) =>
      hasOrigins ? `${text.padEnd(width)}  # ${origin}` : text,
    );
    return [`[${section}]`, ...lines, ""].join("\n");
  });
  return blocks.join("\n");
}

function rowOf({ setting, value, origin }: ShownValue): { text: string; origin: string } {
  const words = setting.presetText ?? "empty";
  const text =
    value === undefined
      ? `# ${setting.key}: ${words.replaceAll("`", "")}`
      : `${setting.key} = ${JSON.stringify(value)}`;
  return { text, origin: originText(origin) };
}

function originText(origin: ValueOrigin): string {
  if (origin.kind === "machine") return `machine: ${origin.from}`;
  if (origin.kind === "setting") return `as ${origin.from}`;
  return formatOrigin(origin);
}

/** As data: values by section, origins by `section.key`; a setting without a value is null. */
export function valuesAsData(values: readonly ShownValue[]): {
  readonly values: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly origins: Readonly<Record<string, ValueOrigin>>;
} {
  const sections: Record<string, Record<string, unknown>> = {};
  const origins: Record<string, ValueOrigin> = {};
  for (const { setting, value, origin } of values) {
    sections[setting.section] ??= {};
    sections[setting.section]![setting.key] = value ?? null;
    origins[nameOfSetting(setting)] = origin;
  }
  return { values: sections, origins };
}
