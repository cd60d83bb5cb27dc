import { fileURLToPath } from "node:url";

// The folder itself, whatever lock files lie above it.
const root = fileURLToPath(new URL(".", import.meta.url));

export default { outputFileTracingRoot: root, turbopack: { root } };
