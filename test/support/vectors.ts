/** Where the golden vectors are: beside the repository, or where IPREF_VECTORS says. */

import { join } from "node:path";

export const VECTORS_FOLDER =
  process.env.IPREF_VECTORS ?? join(import.meta.dirname, "../../../../shared/vectors");
