/**
 * `ipref vectors FILE...`: plays golden vectors through the real core of the gateway (slow path,
 * translation, mapper, mapper socket service; no kernel, no sockets) and of the DNS agent
 * (simulated time), and reports each difference. The format is described in the README of the
 * vector folder.
 */

import { EXIT_FAILED, EXIT_NO_INPUT, EXIT_OK, EXIT_USAGE } from "../exit-status.js";
import { runAgentScenario } from "./agent-scenarios.js";
import { startCoreGateway } from "./core-gateway.js";
import type { Judgement } from "./judge.js";
import { type Difference, thrown } from "./played.js";
import { type FileReport, fileText, jsonText, totalText } from "./report.js";
import { runExchanges } from "./run-exchanges.js";
import { runPacketVector } from "./run-packets.js";
import type { StartGateway } from "./test-gateway.js";
import { readVectorFile, type VectorFile, VectorFileError } from "./vector-file.js";

/** Where results and complaints go. */
export interface VectorOutput {
  print(text: string): void;
  complain(text: string): void;
}

const STANDARD_OUTPUT: VectorOutput = {
  print: (text) => void process.stdout.write(text),
  complain: (text) => void process.stderr.write(text),
};

/**
 * Runs the vectors of some files and prints the results. Returns the exit status: 0 all right, 1 a
 * vector failed, 2 no file named, 66 a file cannot be read or is not in the format.
 */
export async function runVectors(
  files: readonly string[],
  options: { readonly json: boolean },
  output: VectorOutput = STANDARD_OUTPUT,
): Promise<number> {
  if (files.length === 0) {
    output.complain("Cannot run vectors: found no file name, expected at least one\n");
    return EXIT_USAGE;
  }
  const reports: FileReport[] = [];
  for (const file of files) {
    const report = await reportFile(file, startCoreGateway);
    reports.push(report);
    if (report.error !== undefined) output.complain(`${report.error}\n`);
    else if (!options.json) output.print(fileText(report));
  }
  output.print(options.json ? jsonText(reports) : totalText(reports));
  if (reports.some((report) => report.error !== undefined)) return EXIT_NO_INPUT;
  return reports.some((report) => report.failed > 0) ? EXIT_FAILED : EXIT_OK;
}

/** The report about one file; a file that cannot be used gives one with an error. */
export async function reportFile(file: string, start: StartGateway): Promise<FileReport> {
  try {
    return await reportVectors(file, await readVectorFile(file), start);
  } catch (error) {
    if (!(error instanceof VectorFileError)) throw error;
    return { ...collect(file, []), error: error.message };
  }
}

/** Runs the vectors of a file. */
export async function reportVectors(
  file: string,
  content: VectorFile,
  start: StartGateway,
): Promise<FileReport> {
  const results: [string, Judgement][] = [];
  if (content.kind === "scenarios") {
    for (const scenario of content.scenarios) {
      results.push([scenario.name, await judged(() => runAgentScenario(scenario))]);
    }
  } else if (content.kind === "exchanges") {
    const judgements = await runExchanges(content.config, content.exchanges, start);
    for (const [exchange, judgement] of judgements) results.push([exchange.name, judgement]);
  } else {
    for (const vector of content.vectors) {
      results.push([vector.name, await judged(() => runPacketVector(vector, start))]);
    }
  }
  return collect(file, results);
}

/** A gateway that throws has failed the vector; the other vectors still run. */
async function judged(run: () => Promise<Judgement>): Promise<Judgement> {
  try {
    return await run();
  } catch (error) {
    return { status: "failed", findings: [thrown(error)] };
  }
}

function collect(file: string, results: readonly [string, Judgement][]): FileReport {
  const count = (status: Judgement["status"]) =>
    results.filter(([, judgement]) => judgement.status === status).length;
  const intended: Record<string, number> = {};
  const differences: Difference[] = [];
  const observations: Difference[] = [];
  for (const [vector, { status, note, findings }] of results) {
    if (note !== undefined) intended[note] = (intended[note] ?? 0) + 1;
    const list = status === "failed" ? differences : observations;
    for (const finding of findings) list.push({ vector, ...finding });
  }
  return {
    file,
    passed: count("passed"),
    failed: count("failed"),
    informative: count("informative"),
    intended,
    differences,
    observations,
  };
}
