import { topicNameError } from '../../broker/topic-name.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { OPERATIONS, type Operation, type OperationName } from './operations.ts'
import { decodePart } from './read-query.ts'
import { badRequest, kafkaError, RestError } from './rest-error.ts'

/** Which operation a method and a path ask for, by the table of operations. Pure. */
export interface Match {
  readonly name: OperationName
  readonly operation: Operation
  /** '' where the path has none. */
  readonly topic: string
  /** −1 where the path has none. */
  readonly partition: number
  /** '' where the path has none. */
  readonly group: string
  readonly member: string
}

interface Pattern {
  readonly segments: readonly string[]
  /** Where they stand among the segments; −1 for nowhere. */
  readonly topicAt: number
  readonly partitionAt: number
  readonly groupAt: number
  readonly memberAt: number
  readonly operations: ReadonlyMap<
    string,
    { readonly name: OperationName; readonly operation: Operation }
  >
}

const NAME_LENGTH_MAX = 1000
const PATTERNS = patterns()

function patterns(): readonly Pattern[] {
  const byPath = new Map<string, Map<string, { name: OperationName; operation: Operation }>>()
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    const operations = byPath.get(operation.path) ?? new Map()
    byPath.set(operation.path, operations)
    operations.set(operation.method, { name: name as OperationName, operation })
  }
  return [...byPath].map(([path, operations]) => {
    const segments = path.split('/')
    const topicAt = segments.indexOf('{topic}')
    const partitionAt = segments.indexOf('{partition}')
    const groupAt = segments.indexOf('{group}')
    const memberAt = segments.indexOf('{member}')
    return { segments, topicAt, partitionAt, groupAt, memberAt, operations }
  })
}

/** Throws RestError: 404, 405, or 400 for a topic or a partition that is none. */
export function match(method: string, path: string): Match {
  const segments = path.split('/')
  if (segments.length > 2 && segments.at(-1) === '') segments.pop()
  const pattern = PATTERNS.find((one) => fits(one.segments, segments))
  if (pattern === undefined) {
    const message = 'There is nothing at this path; GET / names what there is'
    throw new RestError({ status: 404, error: 'NOT_FOUND' }, message)
  }
  const found = pattern.operations.get(method === 'HEAD' ? 'GET' : method)
  if (found === undefined) {
    const allow = allowed(pattern)
    const message = `${method.slice(0, 20)} is not served at this path: ${allow} is`
    throw new RestError({ status: 405, error: 'METHOD_NOT_ALLOWED' }, message, {
      headers: { allow },
    })
  }
  // An index of −1 is answered by the slowest of all look-ups.
  const { topicAt, partitionAt, groupAt, memberAt } = pattern
  const topic = topicAt < 0 ? '' : topicOf(segments[topicAt] as string)
  const partition = partitionAt < 0 ? -1 : partitionOf(segments[partitionAt] as string)
  const group = groupAt < 0 ? '' : nameOf(segments[groupAt] as string, 'group')
  const member = memberAt < 0 ? '' : nameOf(segments[memberAt] as string, 'member')
  return { name: found.name, operation: found.operation, topic, partition, group, member }
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false
  return pattern.every((segment, i) => segment.startsWith('{') || segment === segments[i])
}

function allowed({ operations }: Pattern): string {
  const methods = [...operations.keys()]
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
}

function topicOf(segment: string): string {
  const name = decodePart(segment)
  const problem = topicNameError(name)
  if (problem !== null) throw kafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, problem)
  return name
}

/** Of a group or a member: Kafka takes any that is not empty. */
function nameOf(segment: string, what: string): string {
  const name = decodePart(segment)
  if (name !== '' && name.length <= NAME_LENGTH_MAX) return name
  throw badRequest(`The name of a ${what} has 1 to ${NAME_LENGTH_MAX} characters`)
}

function partitionOf(segment: string): number {
  if (!/^\d{1,10}$/.test(segment)) {
    throw badRequest(`"${segment.slice(0, 40)}" is no partition: a number from 0 on is`)
  }
  return Number(segment)
}

/** What OPTIONS answers. Throws RestError 404. */
export function methodsAt(path: string): string {
  try {
    match('NONE', path)
  } catch (error) {
    const allow = error instanceof RestError ? error.headers.allow : undefined
    if (allow === undefined) throw error
    return allow
  }
  return ''
}
