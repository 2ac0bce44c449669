/**
 * The kinds of members that real clients make: how each is started, with the same timeouts. A kind
 * is a client and the protocol that it speaks (classic, or KIP-848's, here `consumer`).
 */
import { join } from 'node:path'
import { DEBIAN_PYTHON, repositoryRoot } from './client.ts'
import { GroupMember, nowUs } from './group-member.ts'
import { JavaMember } from './java-member.ts'
import { platformaticNode, platformaticUrl } from './platformatic.ts'

export const MEMBER_KINDS = [
  'kafkajs',
  'kcat',
  'confluent-python',
  'kafka-python',
  'java-classic',
  'java-consumer',
  'platformatic-classic',
  'platformatic-consumer',
] as const
export type MemberKind = (typeof MEMBER_KINDS)[number]

/**
 * Joins again after its session is over. @platformatic/kafka does not with KIP-848's protocol: it
 * goes on sending heartbeats to a coordinator that does not know it.
 */
export function comesBack(kind: MemberKind): boolean {
  return kind !== 'platformatic-consumer'
}

/** Drops what it is just handed when it is told to end, and commits it. */
export function canLose(kind: MemberKind): boolean {
  return kind === 'kcat'
}

export interface MemberOptions {
  readonly bootstrap: string
  readonly group: string
  readonly topic: string
  /** The session timeout of classic members; the others' is the broker's. */
  readonly sessionMs: number
  /** The one assignor that all clients have, in place of the client's own default. */
  readonly roundRobin: boolean
}

const HEARTBEAT_MS = 300
const FETCH_WAIT_MS = 100
const SCRIPTS = join(repositoryRoot, 'test/e2e/clients')
const JAVA_ROUND_ROBIN = 'org.apache.kafka.clients.consumer.RoundRobinAssignor'

export function startMember(kind: MemberKind, options: MemberOptions): GroupMember {
  switch (kind) {
    case 'kafkajs':
      return kafkajsMember(options)
    case 'kcat':
      return new KcatMember(options)
    case 'confluent-python':
      return pythonMember('confluent_member.py', options, librdkafkaSettings(options))
    case 'kafka-python':
      return pythonMember('kafka_python_member.py', options, kafkaPythonSettings(options))
    case 'java-classic':
      return javaMember(options, 'classic')
    case 'java-consumer':
      return javaMember(options, 'consumer')
    case 'platformatic-classic':
      return platformaticMember(options, 'classic')
    case 'platformatic-consumer':
      return platformaticMember(options, 'consumer')
  }
}

type Settings = Readonly<Record<string, string | number | boolean>>

function pairs(settings: Settings): string[] {
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`)
}

function kafkajsMember({ bootstrap, topic, ...options }: MemberOptions): GroupMember {
  const settings = {
    groupId: options.group,
    sessionTimeout: options.sessionMs,
    rebalanceTimeout: 2 * options.sessionMs,
    heartbeatInterval: HEARTBEAT_MS,
    maxWaitTimeInMs: FETCH_WAIT_MS,
    ...(options.roundRobin ? { assignor: 'roundrobin' } : {}),
  }
  const script = join(SCRIPTS, 'node/kafkajs-member.mjs')
  const args = [script, bootstrap, topic, ...pairs(settings)]
  return new GroupMember({ program: process.execPath, options: args })
}

function librdkafkaSettings({ bootstrap, group, sessionMs, roundRobin }: MemberOptions): Settings {
  return {
    'bootstrap.servers': bootstrap,
    'group.id': group,
    'session.timeout.ms': sessionMs,
    'heartbeat.interval.ms': HEARTBEAT_MS,
    'fetch.wait.max.ms': FETCH_WAIT_MS,
    'reconnect.backoff.max.ms': 500,
    'auto.offset.reset': 'earliest',
    ...(roundRobin ? { 'partition.assignment.strategy': 'roundrobin' } : {}),
  }
}

function kafkaPythonSettings(options: MemberOptions): Settings {
  return {
    bootstrap_servers: options.bootstrap,
    group_id: options.group,
    session_timeout_ms: options.sessionMs,
    heartbeat_interval_ms: HEARTBEAT_MS,
    fetch_max_wait_ms: FETCH_WAIT_MS,
    reconnect_backoff_max_ms: 500,
    ...(options.roundRobin ? { assignor: 'roundrobin' } : {}),
  }
}

function pythonMember(script: string, { topic }: MemberOptions, settings: Settings): GroupMember {
  const options = [join(SCRIPTS, 'python', script), topic, ...pairs(settings)]
  return new GroupMember({ program: DEBIAN_PYTHON, options })
}

function javaMember(options: MemberOptions, protocol: 'classic' | 'consumer'): GroupMember {
  const { bootstrap, group, topic, sessionMs, roundRobin } = options
  const classic = {
    'session.timeout.ms': `${sessionMs}`,
    'heartbeat.interval.ms': `${HEARTBEAT_MS}`,
    ...(roundRobin ? { 'partition.assignment.strategy': JAVA_ROUND_ROBIN } : {}),
  }
  const settings = {
    'group.protocol': protocol,
    'fetch.max.wait.ms': `${FETCH_WAIT_MS}`,
    'reconnect.backoff.max.ms': '500',
    ...(protocol === 'classic' ? classic : {}),
  }
  return new JavaMember({ bootstrap, group, subscribe: { topic }, settings })
}

function platformaticMember(options: MemberOptions, protocol: 'classic' | 'consumer'): GroupMember {
  const classic = {
    sessionTimeout: options.sessionMs,
    rebalanceTimeout: 2 * options.sessionMs,
    heartbeatInterval: HEARTBEAT_MS,
  }
  const settings = {
    bootstrap: options.bootstrap,
    groupId: options.group,
    groupProtocol: protocol,
    ...(protocol === 'classic' ? classic : {}),
  }
  const script = join(SCRIPTS, 'node/platformatic-member.mjs')
  const args = [script, platformaticUrl, options.topic, ...pairs(settings)]
  return new PlatformaticMember({ program: platformaticNode, options: args })
}

/** Its script says why it must hold first. */
class PlatformaticMember extends GroupMember {
  override async pause(): Promise<void> {
    await this.hold()
    await super.pause()
  }
}

/**
 * kcat commits by itself, and says what it gains and loses without a time: the time is when it is
 * read here, which is late. So what it loses counts as lost when it last said something else.
 */
class KcatMember extends GroupMember {
  constructor(options: MemberOptions) {
    const settings = { ...librdkafkaSettings(options), 'auto.commit.interval.ms': 100 }
    const { 'group.id': group, 'bootstrap.servers': bootstrap, ...rest } = settings as Settings
    const sets = pairs(rest).flatMap((pair) => ['-X', pair])
    // -E: it does not end when the broker is away.
    const args = ['-b', `${bootstrap}`, '-u', '-E', '-f', '%p %o %s\n', '-G', `${group}`, ...sets]
    super({ program: 'kcat', options: [...args, options.topic] })
  }

  protected override read(line: string): void {
    const [partition, offset, value] = line.split(' ')
    this.places.push({ partition: Number(partition), offset: Number(offset) })
    this.seen.push(value ?? '')
  }

  protected override readComplaint(line: string): void {
    const said = /rebalanced \(memberid .*\): (assigned|revoked): (.*)$/.exec(line)
    if (said === null) return
    const names = said[2]!.split(', ').map((each) => each.replace(/^(.*) \[(\d+)\]$/, '$1-$2'))
    const others = this.assigned.filter((each) => !names.includes(each))
    this.own(said[1] === 'assigned' ? [...others, ...names] : others, nowUs())
  }

  override async leave(): Promise<void> {
    this.signal('SIGTERM')
    await super.leave()
  }

  /** Its times say nothing. */
  override get owned(): readonly [] {
    return []
  }
}
