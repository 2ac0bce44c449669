/** A reporter for node's test runner: the files in which something failed, one a line. */
// biome-ignore lint/style/noDefaultExport: that is how the runner finds it
export default async function* failedFiles(source) {
  const told = new Set()
  for await (const { type, data } of source) {
    // A file that ends by itself has no tests that could: it is its own name.
    const file = data.file ?? data.name
    if (type !== 'test:fail' || data.nesting !== 0 || told.has(file)) continue
    told.add(file)
    yield `${file}\n`
  }
}
