import { ByteBudget } from '../../base/byte-budget.ts'
import type { Broker } from '../../broker/broker.ts'
import { isForeignFailure } from '../../broker/request.ts'
import { Slices } from '../../broker/slices.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { jsonResponse } from '../web/responses.ts'
import type { WebRequest, WebResponse } from '../web/web-server.ts'
import { AppendQueue } from './append-queue.ts'
import type { Call } from './call.ts'
import { deleteEvents, readEvents } from './events.ts'
import { coordinatorElsewhere, forward } from './forward.ts'
import { leave, poll, subscribe } from './group-members.ts'
import { commitOffsets, deleteGroup, describeGroup, listGroups, resetOffsets } from './groups.ts'
import { answerTypeOf, contentTypeOf } from './negotiate.ts'
import { openApi } from './openapi.ts'
import { OPERATIONS, type OperationName } from './operations.ts'
import { checkPage, NO_HEADERS, type PageRules } from './page-rules.ts'
import { produce } from './produce.ts'
import { QueryReader } from './read-query.ts'
import { kafkaError, RestError } from './rest-error.ts'
import { RestMembers } from './rest-members.ts'
import { match, methodsAt } from './router.ts'
import { alterTopic, createTopic, deleteTopic, describeTopic, listTopics } from './topics.ts'

/**
 * Topics, events and groups over HTTP: finds the operation, checks what it is given against its
 * shapes, asks the broker's services, answers. Loaded at the first request, since shapes take a
 * while to load. Runs on main.
 */
/** The operation's query has been checked against its shape: `never` takes each of them. */
type Handler = (call: Call<never>, type: string) => Promise<WebResponse>

/** `type` is the body's, or where there is none the answer's. */
const HANDLERS: Readonly<Record<OperationName, Handler>> = {
  produce,
  readEvents,
  deleteEvents,
  listTopics,
  createTopic,
  describeTopic,
  alterTopic,
  deleteTopic,
  listGroups,
  describeGroup,
  deleteGroup,
  subscribe,
  poll,
  leave,
  commitOffsets,
  resetOffsets,
}

/** They make a group, and what holds it, where there is none. */
const CREATE_GROUPS: ReadonlySet<OperationName> = new Set([
  'subscribe',
  'commitOffsets',
  'resetOffsets',
])

/** Answers that are read or on their way, of all clients. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024

export class RestDoor {
  readonly #broker: Broker
  readonly #rules: PageRules
  readonly #appends: AppendQueue
  readonly #members: RestMembers
  readonly #memory = new ByteBudget(ANSWER_BYTES_MAX)
  readonly #slices: Slices
  readonly #queries: ReadonlyMap<string, QueryReader>
  #openApi: string | null = null

  constructor(broker: Broker, rules: PageRules) {
    this.#broker = broker
    this.#rules = rules
    this.#appends = new AppendQueue(broker)
    this.#members = new RestMembers(broker)
    this.#slices = new Slices(() => broker.clock.monotonicMs())
    this.#queries = new Map(
      Object.entries(OPERATIONS).map(([name, { query }]) => [name, new QueryReader(query)]),
    )
  }

  /** Rejects only when the body is refused or the broker is at fault. */
  async handle(request: WebRequest): Promise<WebResponse> {
    let pageHeaders = NO_HEADERS
    try {
      pageHeaders = checkPage(request, this.#rules)
      const answer = await this.#answer(request)
      return pageHeaders === NO_HEADERS ? answer : withHeaders(answer, pageHeaders)
    } catch (error) {
      return withHeaders(refusalOf(error).toResponse(), pageHeaders)
    }
  }

  #answer(request: WebRequest): Promise<WebResponse> | WebResponse {
    const { method, path } = request
    if (method === 'OPTIONS') return options(methodsAt(path))
    if (path === '/') return this.#index(method)
    if (path === '/openapi.json') return this.#describe(method)
    const { name, operation, topic, partition, group, member } = match(method, path)
    const answerType = answerTypeOf(request, operation)
    const bodyType = contentTypeOf(request, operation)
    const query = this.#queries.get(name)!.read(request.query)
    const broker = this.#broker
    const call = {
      broker,
      request,
      topic,
      partition,
      group,
      member,
      query,
      appends: this.#appends,
      members: this.#members,
      memory: this.#memory,
      slices: this.#slices,
    }
    const handle = (): Promise<WebResponse> =>
      HANDLERS[name](call as Call<never>, bodyType === '' ? answerType : bodyType)
    if (group === '' || broker.elsewhere === null) return handle()
    const creates = CREATE_GROUPS.has(name)
    return coordinatorElsewhere(broker, request, { group, creates }).then((node) =>
      node < 0 ? handle() : forward(broker, request, node),
    )
  }

  #index(method: string): WebResponse {
    onlyRead(method)
    const operations = Object.values(OPERATIONS).map(
      ({ method: verb, path, summary }) => `${verb} ${path}: ${summary}`,
    )
    return jsonResponse(200, {
      software: 'millrace',
      cluster: this.#broker.clusterId,
      node: this.#broker.nodeId,
      operations,
      more: {
        '/openapi.json': 'the same for programs',
        '/metrics': 'for Prometheus',
        '/health/live': 'whether it runs',
        '/health/ready': 'whether it serves',
        '/ws': 'millrace.v1 over WebSocket',
      },
    })
  }

  #describe(method: string): WebResponse {
    onlyRead(method)
    this.#openApi ??= `${JSON.stringify(openApi(), null, 1)}\n`
    const headers = { 'content-type': 'application/json' }
    return { status: 200, headers, body: this.#openApi }
  }
}

function onlyRead(method: string): void {
  if (method === 'GET' || method === 'HEAD') return
  const headers = { allow: 'GET, HEAD, OPTIONS' }
  const message = 'Only GET and HEAD are served here'
  throw new RestError({ status: 405, error: 'METHOD_NOT_ALLOWED' }, message, { headers })
}

/** What a page's browser asks before it sends what a form could not (CORS). */
function options(allow: string): WebResponse {
  const headers = {
    allow,
    'access-control-allow-methods': allow,
    'access-control-allow-headers': 'content-type, accept',
    'access-control-max-age': '600',
  }
  return jsonResponse(200, { allow }, headers)
}

function withHeaders(answer: WebResponse, headers: Readonly<Record<string, string>>): WebResponse {
  return { ...answer, headers: { ...answer.headers, ...headers } }
}

/** What a client or the world has done; rethrows everything else. */
function refusalOf(error: unknown): RestError {
  if (error instanceof RestError) return error
  if (isForeignFailure(error)) {
    return kafkaError(error.code, error instanceof BrokerError ? null : error.message)
  }
  throw error
}
