import type { BrokerOptionName } from './options.ts'

/**
 * What no option can say of itself alone: one line for each thing that is wrong. `textOf` gives an
 * option's text, '' where it has none.
 */
export function checkTogether(
  textOf: (name: BrokerOptionName) => string,
  ingressBytes: number,
): string[] {
  const problems: string[] = []
  for (const unit of ['ms', 'minutes', 'hours'] as const) {
    // Kafka refuses it as well: nobody who writes 0 means "delete everything at once".
    if (textOf(`log.retention.${unit}`) !== '0') continue
    problems.push(`log.retention.${unit}: expected -1 (never) or at least 1, got "0"`)
  }
  const batch = Number(textOf('message.max.bytes'))
  if (batch > ingressBytes / 10) {
    problems.push(
      `message.max.bytes (${batch}) must not exceed a tenth of millrace.arena.ingress.bytes ` +
        `(${ingressBytes}): a request lies in one piece in that memory, beside others`,
    )
  }
  const [min, max] = (['min', 'max'] as const).map((end) =>
    Number(textOf(`log.cleaner.${end}.compaction.lag.ms`)),
  )
  if ((min as number) > (max as number)) {
    problems.push(
      'log.cleaner.min.compaction.lag.ms must not exceed log.cleaner.max.compaction.lag.ms',
    )
  }
  return problems
}
