/** Numbers of a command line. Pure. */

export class UsageError extends Error {}

/** Throws UsageError unless `text` is a number in [low, high], a whole one where asked for. */
export function numberOption(
  text: string,
  name: string,
  { low, high, whole = false }: { low: number; high: number; whole?: boolean },
): number {
  const value = Number(text)
  const isGood = text.trim() !== '' && value >= low && value <= high
  if (isGood && (!whole || Number.isInteger(value))) return value
  const kind = whole ? 'whole number' : 'number'
  throw new UsageError(`--${name} ${text}: must be a ${kind} ${low} to ${high}`)
}
