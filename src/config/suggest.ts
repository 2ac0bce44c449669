/** "Did you mean …": the known name nearest to one that is not known. */

/** An optimal string alignment distance, given up (as `limit` + 1) once it must exceed `limit`. */
export function editDistance(from: string, to: string, limit: number): number {
  if (Math.abs(from.length - to.length) > limit) return limit + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const substitution = from[i - 1] === to[j - 1] ? 0 : 1
      let cost = Math.min(
        (last[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (last[j - 1] as number) + substitution,
      )
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      if (swapped) cost = Math.min(cost, (beforeLast[j - 2] as number) + 1)
      row.push(cost)
    }
    if (Math.min(...row) > limit) return limit + 1
    beforeLast = last
    last = row
  }
  return last[to.length] as number
}

/**
 * The nearest of `known`, when it is near enough to be meant: a third of the name at most. Of two
 * that are as near, the one that begins more alike.
 */
export function nearest(name: string, known: Iterable<string>): string | null {
  const lower = name.toLowerCase()
  let best: string | null = null
  let limit = Math.max(1, Math.floor(name.length / 3))
  for (const candidate of known) {
    const distance = editDistance(lower, candidate.toLowerCase(), limit)
    if (distance > limit) continue
    if (distance === limit && best !== null && alike(lower, candidate) <= alike(lower, best)) {
      continue
    }
    best = candidate
    limit = distance
  }
  return best
}

/** How many characters two names have in common at their beginnings. */
function alike(lower: string, candidate: string): number {
  let count = 0
  while (count < lower.length && lower[count] === candidate[count]?.toLowerCase()) count++
  return count
}

/** `; did you mean X?`, or nothing. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const candidate = nearest(name, known)
  return candidate === null ? '' : `; did you mean ${candidate}?`
}
