/**
 * What a member of a group says, in lines of JSON, whichever client it uses: the same as
 * `python/group_member.py` says it.
 */
import { writeSync } from 'node:fs'

/** Written at once: what a member says before it acts, is said before it acts. */
export function say(line) {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

/** All that it has from now on. */
export function sayAssigned(topic, partitions) {
  const assigned = [...partitions].sort().map((partition) => `${topic}-${partition}`)
  say({ assigned, at: Number(process.hrtime.bigint() / 1000n) })
}

/** Arguments name=value; a value that is JSON is what JSON says. */
export function settings(args) {
  return Object.fromEntries(
    args.map((arg) => {
      const at = arg.indexOf('=')
      const text = arg.slice(at + 1)
      try {
        return [arg.slice(0, at), JSON.parse(text)]
      } catch {
        return [arg.slice(0, at), text]
      }
    }),
  )
}

/** Resolves when standard input ends: it should leave. */
export function leaving() {
  return new Promise((resolve) => process.stdin.resume().once('end', resolve))
}
