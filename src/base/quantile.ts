/** What at most one of a thousand samples is above: P99.9. Samples are not negative. */
export function oneInThousand(samples: Float64Array): number {
  const worst = Array.from({ length: Math.floor(samples.length / 1000) + 1 }, () => 0)
  for (const sample of samples) {
    if (sample <= (worst[0] as number)) continue
    worst[0] = sample
    worst.sort((a, b) => a - b)
  }
  return worst[0] as number
}
