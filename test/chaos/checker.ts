/**
 * Judges a history: near-linear, two passes over its lines and two over the events of each
 * partition. Pure. The order of the lines matters where they are one client's: an event is sent
 * before it is acknowledged, and a reader reads one thing after the other.
 *
 * What must hold, by the names of what breaks it:
 *   lost            an acknowledged event is nowhere in the partition
 *   moved           it is there, not at the offset that was acknowledged
 *   doubled         an event is at two offsets, from one sender (see below)
 *   phantom         what was never sent there is in the log, or was read
 *   revived         an event that failed for sure is in the log
 *   reordered       events of one producer are not in the order in which it sent them
 *   inverted        B was sent after A had been acknowledged, and lies before it
 *   gap             the offsets of the log are not dense
 *   nonmonotonic    a reader went back
 *   skipped         a reader passed over an offset
 *   diverged        a reader saw another event at an offset than the log has
 *   vanished        a reader saw an offset that the log does not have
 *   settled twice   a client said two things of one event, or something of one never sent
 *
 * A sender is a producer under one id and epoch, which is as far as brokers can tell repetitions. A
 * client that takes a new epoch and sends again what was in flight doubles its own events
 * (librdkafka does, its issue 4953): these are counted as resent, and are nobody else's fault.
 */
import type {
  Acknowledged,
  Final,
  HistoryLine,
  Invoked,
  Read,
  SeenEvent,
  Unacknowledged,
} from './history.ts'

export type ViolationKind =
  | 'lost'
  | 'moved'
  | 'doubled'
  | 'phantom'
  | 'revived'
  | 'reordered'
  | 'inverted'
  | 'gap'
  | 'nonmonotonic'
  | 'skipped'
  | 'diverged'
  | 'vanished'
  | 'settled twice'

export interface Violation {
  readonly kind: ViolationKind
  readonly partition: string
  readonly what: string
}

export interface Verdict {
  /** How often; `examples` has the first of each kind and partition. */
  readonly violations: number
  readonly kinds: Readonly<Partial<Record<ViolationKind, number>>>
  readonly examples: readonly Violation[]
  readonly counts: HistoryCounts
}

export interface HistoryCounts {
  readonly sent: number
  readonly acknowledged: number
  readonly failed: number
  /** Of unknown outcome, and those of which their client never said anything. */
  readonly unknown: number
  /** Of these, those that are in the log. */
  readonly unknownFound: number
  /** Copies that a client made of its own events under a new epoch. */
  readonly resent: number
  readonly inLog: number
  readonly read: number
  /** Events that failed or are unknown, by what their client said. */
  readonly errors: Readonly<Record<string, number>>
}

type State = 'sent' | 'ok' | 'fail' | 'unknown'

/** What is known of one event. */
interface Event {
  readonly partition: string
  readonly sentAt: number
  state: State
  okAt: number
  /** Acknowledged; −1: the client did not say. */
  okOffset: number
  /** In the log, the first time; −1: nowhere. */
  offset: number
  sender: string
  /** Where it is besides, from other senders. */
  resent: { readonly sender: string; readonly offset: number }[] | null
}

interface Partition {
  readonly batches: Final[]
  readonly byOffset: SeenEvent[]
  /** How far each reader has come. */
  readonly readers: Map<string, number>
}

const EXAMPLES_MAX = 5

/** `open` gives the lines, each time from the first on: what was read is never held as a whole. */
export function checkHistory(open: () => Iterable<HistoryLine>): Verdict {
  const checker = new Checker()
  for (const line of open()) {
    if (line.type === 'invoke') checker.invoke(line)
    else if (line.type === 'final') checker.final(line)
    else if (line.type !== 'read') checker.settle(line)
  }
  checker.checkLogs()
  for (const line of open()) {
    if (line.type === 'read') checker.read(line)
  }
  return checker.verdict()
}

class Checker {
  /** By producer, then sequence. */
  readonly #producers = new Map<string, Event[]>()
  readonly #partitions = new Map<string, Partition>()
  readonly #kinds: Partial<Record<ViolationKind, number>> = {}
  readonly #examples: Violation[] = []
  readonly #shown = new Map<string, number>()
  readonly #errors: Record<string, number> = {}
  #read = 0

  invoke({ producer, partition, first, count, at }: Invoked): void {
    const events = this.#eventsOf(producer)
    for (let sequence = first; sequence < first + count; sequence++) {
      if (events[sequence] !== undefined) {
        this.#add('settled twice', partition, `${producer}/${sequence} was sent twice`)
      }
      events[sequence] = newEvent(partition, at)
    }
    this.#partition(partition)
  }

  settle(line: Acknowledged | Unacknowledged): void {
    if (line.type === 'ok') {
      for (const [sequence, offset] of line.events) {
        const event = this.#settled(line, sequence)
        if (event === null) continue
        event.okAt = line.at
        event.okOffset = offset
      }
    } else {
      const { sequences, error } = line
      for (const sequence of sequences) this.#settled(line, sequence)
      this.#errors[error] = (this.#errors[error] ?? 0) + sequences.length
    }
  }

  read({ reader, partition, events }: Read): void {
    const { readers, byOffset } = this.#partition(partition)
    const name = `${reader} in ${partition}`
    let before = readers.get(reader) ?? -1
    for (const seen of events) {
      const [offset] = seen
      if (before !== -1 && offset <= before) {
        this.#add('nonmonotonic', partition, `${name} read ${offset} after ${before}`)
      } else if (before !== -1 && offset !== before + 1) {
        this.#add('skipped', partition, `${name} read ${offset} after ${before}`)
      }
      before = offset
      this.#checkSeen(name, partition, seen, byOffset[offset])
    }
    readers.set(reader, before)
    this.#read += events.length
  }

  final(batch: Final): void {
    const { batches, byOffset } = this.#partition(batch.partition)
    batches.push(batch)
    for (const event of batch.events) byOffset[event[0]] = event
  }

  /** Everything is said that is said of producers and logs. */
  checkLogs(): void {
    for (const [name, { batches }] of this.#partitions) this.#checkLog(name, batches)
    for (const [producer, events] of this.#producers) this.#checkProducer(producer, events)
    for (const [name, { byOffset }] of this.#partitions) this.#checkTimes(name, byOffset)
  }

  verdict(): Verdict {
    const violations = Object.values(this.#kinds).reduce((sum, count) => sum + count, 0)
    return {
      violations,
      kinds: this.#kinds,
      examples: this.#examples,
      counts: this.#counts(),
    }
  }

  // —— inside ——

  /** The log by itself: dense, no event twice, each sender's in order, nothing unsent. */
  #checkLog(name: string, batches: readonly Final[]): void {
    const newest = new Map<string, SeenEvent>()
    let expected = 0
    for (const { sender, events } of batches) {
      for (const seen of events) {
        const [offset, producer, sequence] = seen
        if (offset !== expected) this.#add('gap', name, `${offset} follows ${expected - 1}`)
        expected = offset + 1
        if (!this.#isFirst(name, sender, seen)) continue
        const before = newest.get(sender)
        newest.set(sender, seen)
        if (before?.[1] !== producer || before[2] < sequence) continue
        const what = `${producer}/${sequence} at ${offset} lies behind ${producer}/${before[2]}`
        this.#add('reordered', name, `${what} at ${before[0]}`)
      }
    }
  }

  /** False: it should not be there, which has been said. */
  #isFirst(name: string, sender: string, [offset, producer, sequence]: SeenEvent): boolean {
    const id = `${producer}/${sequence}`
    const event = this.#producers.get(producer)?.[sequence]
    if (event === undefined || event.partition !== name) {
      this.#add('phantom', name, `${id} at ${offset} was never sent there`)
      return false
    }
    if (event.offset === -1) {
      event.offset = offset
      event.sender = sender
      if (event.state === 'fail') this.#add('revived', name, `${id} failed, and is at ${offset}`)
      return true
    }
    const before = event.resent?.find((copy) => copy.sender === sender)?.offset
    if (event.sender === sender || before !== undefined) {
      this.#add('doubled', name, `${id} is at ${before ?? event.offset} and at ${offset}`)
      return false
    }
    event.resent ??= []
    event.resent.push({ sender, offset })
    return true
  }

  #checkProducer(producer: string, events: readonly Event[]): void {
    for (const [sequence, event] of events.entries()) {
      if (event?.state !== 'ok') continue
      const { partition, offset, okOffset, okAt } = event
      const id = `${producer}/${sequence}`
      if (offset === -1) {
        const when = new Date(okAt).toISOString()
        this.#add('lost', partition, `${id} was acknowledged at ${okOffset}, ${when}`)
      } else if (okOffset !== -1 && !isAt(event, okOffset)) {
        this.#add('moved', partition, `${id} was acknowledged at ${okOffset}, and is at ${offset}`)
      }
    }
  }

  /** From the end: what lies behind an event was not acknowledged before it was sent. */
  #checkTimes(name: string, log: readonly SeenEvent[]): void {
    let earliest = Infinity
    let earliestId = ''
    for (let index = log.length - 1; index >= 0; index--) {
      const [offset, producer, sequence] = log[index] ?? [-1, '', -1]
      const event = this.#producers.get(producer)?.[sequence]
      if (event?.offset !== offset || event.resent !== null) continue
      if (earliest < event.sentAt) {
        const ms = event.sentAt - earliest
        const what =
          `${producer}/${sequence} at ${offset} was sent ${ms} ms after ${earliestId} ` +
          'had been acknowledged, which lies behind it'
        this.#add('inverted', name, what)
      }
      if (event.state === 'ok' && event.okAt < earliest) {
        earliest = event.okAt
        earliestId = `${producer}/${sequence}`
      }
    }
  }

  #checkSeen(reader: string, partition: string, seen: SeenEvent, now?: SeenEvent): void {
    const [offset, producer, sequence] = seen
    const id = `${producer}/${sequence}`
    if (this.#producers.get(producer)?.[sequence]?.partition !== partition) {
      const what = `${reader} read ${id} at ${offset}, which was never sent there`
      this.#add('phantom', partition, what)
    }
    if (now === undefined) {
      this.#add('vanished', partition, `${reader} read ${id} at ${offset}, where nothing is now`)
    } else if (now[1] !== producer || now[2] !== sequence) {
      const what = `${reader} read ${id} at ${offset}, where ${now[1]}/${now[2]} is now`
      this.#add('diverged', partition, what)
    }
  }

  #counts(): HistoryCounts {
    const counts = { sent: 0, acknowledged: 0, failed: 0, unknown: 0, unknownFound: 0, resent: 0 }
    for (const events of this.#producers.values()) {
      for (const event of events) {
        if (event === undefined) continue
        counts.sent++
        counts.resent += event.resent?.length ?? 0
        if (event.state === 'ok') counts.acknowledged++
        else if (event.state === 'fail') counts.failed++
        else {
          counts.unknown++
          if (event.offset !== -1) counts.unknownFound++
        }
      }
    }
    const batches = [...this.#partitions.values()].flatMap((partition) => partition.batches)
    const inLog = batches.reduce((sum, { events }) => sum + events.length, 0)
    return { ...counts, inLog, read: this.#read, errors: this.#errors }
  }

  /** The event, now in the state that the line says; null, and a violation, if it cannot be. */
  #settled(line: Acknowledged | Unacknowledged, sequence: number): Event | null {
    const { producer, partition, type } = line
    const event = this.#producers.get(producer)?.[sequence]
    if (event === undefined || event.partition !== partition || event.state !== 'sent') {
      const before = event?.partition === partition ? event.state : 'never sent there'
      const what = `${producer}/${sequence} is said to be ${type}, and was ${before}`
      this.#add('settled twice', partition, what)
      return null
    }
    event.state = type
    return event
  }

  #eventsOf(producer: string): Event[] {
    let events = this.#producers.get(producer)
    if (events === undefined) {
      events = []
      this.#producers.set(producer, events)
    }
    return events
  }

  #partition(name: string): Partition {
    let partition = this.#partitions.get(name)
    if (partition === undefined) {
      partition = { batches: [], byOffset: [], readers: new Map() }
      this.#partitions.set(name, partition)
    }
    return partition
  }

  #add(kind: ViolationKind, partition: string, what: string): void {
    this.#kinds[kind] = (this.#kinds[kind] ?? 0) + 1
    const key = `${kind} ${partition}`
    const shown = this.#shown.get(key) ?? 0
    this.#shown.set(key, shown + 1)
    if (shown < EXAMPLES_MAX) this.#examples.push({ kind, partition, what })
  }
}

function isAt({ offset, resent }: Event, at: number): boolean {
  return offset === at || resent?.some((copy) => copy.offset === at) === true
}

function newEvent(partition: string, sentAt: number): Event {
  const places = { okAt: Infinity, okOffset: -1, offset: -1, sender: '', resent: null }
  return { partition, sentAt, state: 'sent', ...places }
}
