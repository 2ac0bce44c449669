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
  problems.push(...consumerTimeProblems(textOf))
  return problems
}

/** Kafka's: the times of consumer groups lie in their ranges; heartbeats fit into a session. */
function consumerTimeProblems(textOf: (name: BrokerOptionName) => string): string[] {
  const problems: string[] = []
  for (const time of ['session.timeout.ms', 'heartbeat.interval.ms'] as const) {
    const [value, min, max] = ['', 'min.', 'max.'].map((end) =>
      Number(textOf(`group.consumer.${end as '' | 'min.' | 'max.'}${time}`)),
    ) as [number, number, number]
    if (min <= value && value <= max) continue
    problems.push(
      `group.consumer.${time} (${value}) must lie between group.consumer.min.${time} (${min}) ` +
        `and group.consumer.max.${time} (${max})`,
    )
  }
  const sessionMs = Number(textOf('group.consumer.session.timeout.ms'))
  if (sessionMs <= Number(textOf('group.consumer.heartbeat.interval.ms'))) {
    problems.push(
      'group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms',
    )
  }
  return problems
}
