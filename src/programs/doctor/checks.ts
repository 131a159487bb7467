/** All checks of the doctor, in the order of the table, and the quick form of every start. */

import type { UpConfiguration } from "../../control/config/settings.js";
import type { Finding } from "../../control/doctor/finding.js";
import { type Check, runChecks } from "./check.js";
import { DoctorContext } from "./context.js";
import { MACHINE_CHECKS } from "./machine-checks.js";
import { NAME_CHECKS } from "./name-checks.js";
import { NETWORK_CHECKS } from "./network-checks.js";
import { PEER_CHECKS } from "./peer-checks.js";
import { PUBLISHING_CHECKS } from "./publishing-checks.js";

export const CHECKS: readonly Check[] = [
  ...MACHINE_CHECKS,
  ...NETWORK_CHECKS,
  ...NAME_CHECKS,
  ...PUBLISHING_CHECKS,
  ...PEER_CHECKS,
];

/** The quick form never takes longer. */
const QUICK_MS = 1000;

/** What a start should complain about: nothing but the machine is asked. */
export function quickFindings(configuration: UpConfiguration, file: string): Promise<Finding[]> {
  const context = new DoctorContext({ configuration, file, isFileGiven: false, peers: [] });
  const quick = CHECKS.filter(({ isQuick }) => isQuick);
  return runChecks(quick, context, QUICK_MS);
}
