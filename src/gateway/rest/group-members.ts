import type { z } from 'zod'
import { type Elsewhere, elsewhere } from '../../broker/elsewhere.ts'
import { FetchJob, type FetchTarget } from '../../broker/fetch-job.ts'
import { FROM_LEADER, fetchTarget } from '../../broker/fetch-target.ts'
import { logBounds } from '../../broker/group-admin.ts'
import { readEvents } from '../../broker/read-events.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import { jsonResponse } from '../web/responses.ts'
import type { WebResponse } from '../web/web-server.ts'
import type { Call } from './call.ts'
import { toJson } from './event-forms.ts'
import { inPieces, WHOLE_BYTES_MAX } from './events.ts'
import { type PollQuery, type Subscribed, Subscription } from './group-shapes.ts'
import { JSON_TYPE } from './operations.ts'
import { readBody } from './read-body.ts'
import { kafkaError, RestError } from './rest-error.ts'
import type { ReadPlace, RestMember } from './rest-members.ts'
import { READ_BYTES_DEFAULT, READ_EVENTS_MAX } from './shapes.ts'

/** Members of groups over HTTP: subscribe, poll, leave. Runs on main. */
type Query = z.infer<typeof PollQuery>

/** So long an answer to `subscribe` waits for the first partitions. */
const ASSIGNED_MS_MAX = 10_000
/** What is read at once from one partition. */
const READ_BYTES = 1024 * 1024
/** Partitions of other brokers that one poll waits for. */
const WAITS_MAX = 32
const LOOK_AGAIN_MS = 500

export async function subscribe(call: Call<object>): Promise<WebResponse> {
  const { broker, group, members, request } = call
  const options = await readBody(call, Subscription)
  const member = members.add({ group, options, clientHost: `/${request.remoteAddress}` })
  const deadlineMs = broker.clock.monotonicMs() + ASSIGNED_MS_MAX
  let isEntered = false
  while (member.state === 'joining') {
    if (!isEntered && member.memberId !== '') {
      isEntered = true
      members.enter(member)
    }
    const leftMs = deadlineMs - broker.clock.monotonicMs()
    if (leftMs <= 0 || request.signal.aborted) break
    await member.change(leftMs, request.signal)
  }
  member.check()
  if (request.signal.aborted || member.memberId === '') {
    // Nobody knows its name.
    void member.leave()
    throw kafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
  }
  if (!isEntered) members.enter(member)
  member.toldGeneration = member.generation
  const url = `/consumer-groups/${encodeURIComponent(group)}/members/${member.memberId}/events`
  const answer: z.infer<typeof Subscribed> = {
    group,
    memberId: member.memberId,
    url,
    ...roundOf(member),
    assignment: assignmentOf(member),
  }
  return jsonResponse(201, answer, { location: url })
}

export async function leave({ group, member: memberId, members }: Call<object>) {
  await members.find(group, memberId).leave()
  return jsonResponse(200, { group, memberId })
}

function roundOf({ generation, state }: RestMember) {
  return { generation, rebalancing: state !== 'assigned' }
}

function assignmentOf({ places }: RestMember) {
  return places.map(({ topic, partition, committed }) => {
    return { topic, partition, committedOffset: committed < 0 ? null : committed }
  })
}

/** Who polls is done with what it got before: that may be committed, and partitions given back. */
export async function poll(call: Call<Query>): Promise<WebResponse> {
  const member = call.members.find(call.group, call.member)
  if (member.isPolling) {
    const message = 'This member is being polled: one poll after the other keeps the order'
    throw new RestError({ status: 409, error: 'POLL_UNDER_WAY' }, message)
  }
  member.isPolling = true
  member.touch()
  try {
    return await pollOnce(call, member)
  } finally {
    member.isPolling = false
    member.touch()
  }
}

async function pollOnce(call: Call<Query>, member: RestMember): Promise<WebResponse> {
  const { clock } = call.broker
  const { signal } = call.request
  const deadlineMs = clock.monotonicMs() + (call.query.wait_ms ?? 0)
  for (;;) {
    if (member.options.autoCommit === true) await member.commitPositions()
    member.check()
    member.release()
    const page = member.state === 'assigned' ? await readPage(call, member) : EMPTY
    const leftMs = deadlineMs - clock.monotonicMs()
    if (page.events.length > 0 || leftMs <= 0 || signal.aborted) return answer(call, member, page)
    if (member.state === 'assigned') await waitForEvents(call, member, leftMs)
    else await member.change(leftMs, signal)
  }
}

interface Page {
  readonly events: readonly string[]
  readonly length: number
  /** Where its events end: taken when the answer is on its way. */
  readonly ends: readonly { readonly place: ReadPlace; readonly position: number }[]
}

const EMPTY: Page = { events: [], length: 0, ends: [] }

async function readPage(call: Call<Query>, member: RestMember): Promise<Page> {
  const { query, memory, slices, broker } = call
  const bytesMax = query.max_bytes ?? READ_BYTES_DEFAULT
  const eventsMax = query.max_events ?? READ_EVENTS_MAX
  const format = query.format ?? member.options.format ?? 'json'
  const events: string[] = []
  const ends: { place: ReadPlace; position: number }[] = []
  let length = 0
  for (const place of [...member.places]) {
    if (length >= bytesMax || events.length >= eventsMax) break
    const handle = broker.topicByName(place.topic)?.handles[place.partition]
    if (handle === undefined) continue // The group will share out anew.
    const offset = place.position >= 0 ? place.position : await begin(call, member, place)
    const asked = { bytesMax: Math.min(bytesMax - length, READ_BYTES), waitMs: 0, signal: null }
    const begun = `{"topic":${JSON.stringify(place.topic)},"partition":${place.partition},`
    const read = await readEvents(broker, { handle, offset, ...asked, memory, slices }, (event) => {
      const text = begun + toJson(event, format).slice(1)
      events.push(text)
      length += text.length + 1
      return length < bytesMax && events.length < eventsMax
    })
    if (read.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      place.position = -1
      place.committed = -1 // Reading begins anew, perhaps in front of it.
      place.position = await begin(call, member, place)
    } else if (read.errorCode === ErrorCode.NONE) {
      if (read.nextOffset > offset) ends.push({ place, position: read.nextOffset })
    } else if (events.length === 0) {
      const message = read.errorMessage ?? errorInfo(read.errorCode).message
      throw kafkaError(read.errorCode, `${place.topic}-${place.partition}: ${message}`)
    } else break
  }
  return { events, length, ends }
}

/** Where a partition begins for which nothing is committed, or no longer there. */
async function begin({ broker }: Call<Query>, member: RestMember, place: ReadPlace) {
  const bounds = await logBounds(broker, place)
  if (bounds === null) {
    const isAlone = broker.elsewhere === null
    throw kafkaError(isAlone ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.LEADER_NOT_AVAILABLE)
  }
  const isEarliest = member.options.from === 'earliest'
  place.position = isEarliest ? bounds.logStartOffset : bounds.highWatermark
  return place.position
}

/** Until there is one, or the group wants something, or the time is over. */
async function waitForEvents(call: Call<Query>, member: RestMember, ms: number): Promise<void> {
  const { broker, request } = call
  const here: FetchTarget[] = []
  const there: { leader: Elsewhere; handle: number; offset: number }[] = []
  for (const { topic, partition, position: offset } of member.places) {
    const handle = broker.topicByName(topic)?.handles[partition]
    if (handle === undefined) continue
    const leader = elsewhere(broker, handle)
    if (leader !== null) there.push({ leader, handle, offset })
    else if (broker.leads(handle)) {
      here.push(fetchTarget(broker, handle, { ...FROM_LEADER, fetchOffset: offset, bytesMax: 1 }))
    }
  }
  // Those that nobody leads now, and those that are too many to wait for, are looked at again.
  const isWatched = here.length + there.length === member.places.length
  const waitMs = isWatched && there.length <= WAITS_MAX ? ms : Math.min(ms, LOOK_AGAIN_MS)
  const done = new AbortController()
  const signal = AbortSignal.any([request.signal, done.signal])
  const changed = member.change(waitMs, signal)
  const now = (): number => broker.clock.monotonicMs()
  const limits = { bytesMin: 1, bytesMax: 1, waitMsMax: waitMs }
  const job = here.length === 0 ? null : new FetchJob(here, limits, now)
  const ran = job?.run()
  broker.hub.flushAfterPoll()
  const others = there
    .slice(0, WAITS_MAX)
    .map(({ leader, handle, offset }) =>
      leader.fetch(handle, { offset, bytesMax: 1, waitMs, signal }),
    )
  await Promise.race([changed, ...(ran === undefined ? [] : [ran]), ...others])
  done.abort()
  job?.cancel()
  await ran
  job?.release()
  broker.hub.flushAfterPoll()
}

function answer(call: Call<Query>, member: RestMember, page: Page): WebResponse {
  const { events, length, ends } = page
  const isNew = member.state === 'assigned' && member.toldGeneration !== member.generation
  const rest = {
    ...roundOf(member),
    ...(isNew ? { assignment: assignmentOf(member) } : {}),
  }
  const end = `],${JSON.stringify(rest).slice(1)}\n`
  const headers = { 'content-type': JSON_TYPE, 'cache-control': 'no-store' }
  const begun = '{"events":['
  const body =
    length <= WHOLE_BYTES_MAX
      ? `${begun}${events.join(',')}${end}`
      : inPieces(call, { events, length, begin: begun, between: ',', end })
  // Nobody reads it: it is given again.
  if (call.request.signal.aborted) return { status: 200, headers, body: '' }
  for (const { place, position } of ends) {
    place.position = position
    member.moveBack(place)
  }
  if (isNew) member.toldGeneration = member.generation
  return { status: 200, headers, body }
}
