import type { z } from 'zod'
import {
  type CommittedAt,
  committedOffsets,
  deleteGroup as deleteFrom,
  describeGroup as describe,
  listGroups as list,
  logBounds,
  setOffsets,
} from '../../broker/group-admin.ts'
import { partitionKey } from '../../broker/member-calls.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { jsonResponse } from '../web/responses.ts'
import type { WebResponse } from '../web/web-server.ts'
import { HTTP_LISTENER } from '../websocket/leaders.ts'
import type { Call } from './call.ts'
import { askAlso, isForwarded } from './forward.ts'
import { Commit, type Group, Reset, type ResetDone } from './group-shapes.ts'
import { offsetAt } from './offset-at.ts'
import { readBody } from './read-body.ts'
import { badRequest, kafkaError } from './rest-error.ts'

/** Consumer groups: list, describe, delete, offsets. Runs on main. */
const OFFSETS_BODY_BYTES = 4 * 1024 * 1024

export async function listGroups({ broker, request }: Call<object>): Promise<WebResponse> {
  const own = (await list(broker)).map(({ groupId, ...rest }) => ({ group: groupId, ...rest }))
  if (broker.elsewhere === null || isForwarded(request)) return jsonResponse(200, { groups: own })
  const nodes = broker.nodes(HTTP_LISTENER).filter(({ nodeId }) => nodeId !== broker.nodeId)
  const others = await Promise.all(
    nodes.map(async ({ nodeId }) => {
      const { groups } = JSON.parse(await askAlso(broker, request, nodeId)) as { groups: object[] }
      return groups
    }),
  )
  return jsonResponse(200, { groups: [...own, ...others.flat()] })
}

export async function describeGroup({ broker, group }: Call<object>): Promise<WebResponse> {
  const { state, assignor, members, offsets } = await describe(broker, group)
  const owners = new Map<string, string>()
  for (const { memberId, assignment } of members) {
    for (const at of assignment) owners.set(partitionKey(at), memberId)
  }
  let total = 0
  const shown = offsets.map(({ topic, partition, committedOffset, bounds }) => {
    const isCommitted = committedOffset >= 0
    const owner = owners.get(partitionKey({ topic, partition }))
    const lag = bounds === null ? 0 : lagOf(committedOffset, bounds)
    if (isCommitted) total += lag
    return {
      topic,
      partition,
      committedOffset: isCommitted ? committedOffset : null,
      ...(bounds ?? {}),
      ...(isCommitted && bounds !== null ? { lag } : {}),
      ...(owner === undefined ? {} : { memberId: owner }),
    }
  })
  shown.sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  )
  const answer: z.infer<typeof Group> = {
    group,
    state,
    assignor,
    members: members.map((member) => ({ ...member, assignment: [...member.assignment] })),
    offsets: shown,
    lag: total,
  }
  return jsonResponse(200, answer)
}

/** What retention has deleted is not waited for. */
function lagOf(
  committed: number,
  { logStartOffset, highWatermark }: { logStartOffset: number; highWatermark: number },
): number {
  return Math.max(0, highWatermark - Math.max(committed, logStartOffset))
}

export async function deleteGroup({ broker, group }: Call<object>): Promise<WebResponse> {
  await deleteFrom(broker, group)
  return jsonResponse(200, { group })
}

export async function commitOffsets(call: Call<object>): Promise<WebResponse> {
  const { broker, group, members } = call
  const { memberId, offsets } = await readBody(call, Commit, OFFSETS_BODY_BYTES)
  for (const at of offsets) checkPlace(call, at)
  if (memberId === undefined) {
    await setOffsets(broker, { groupId: group, isForced: false }, offsets)
  } else {
    const member = members.find(group, memberId)
    const codes = await member.commit(offsets.map((at) => ({ metadata: null, ...at })))
    const bad = codes.findIndex((code) => code !== ErrorCode.NONE)
    if (bad >= 0) {
      const { topic, partition } = offsets[bad]!
      throw kafkaError(codes[bad]!, `${topic}-${partition} is not this member's now`)
    }
  }
  return jsonResponse(200, {
    offsets: offsets.map(({ topic, partition, offset }) => ({ topic, partition, offset })),
  })
}

export async function resetOffsets(call: Call<object>): Promise<WebResponse> {
  const { broker, group } = call
  const { to, topics, force, dryRun } = await readBody(call, Reset, OFFSETS_BODY_BYTES)
  const before = new Map(
    (await committedOffsets(broker, group)).map((at) => [partitionKey(at), at]),
  )
  const places = placesOf(call, { to, topics, before: [...before.values()] })
  const offsets = await Promise.all(
    places.map(async (at) => {
      const { topic, partition } = at
      return { topic, partition, offset: await target(call, at, to, before.get(partitionKey(at))) }
    }),
  )
  if (offsets.length === 0) {
    throw badRequest('body: nothing is committed here yet; topics says where to begin')
  }
  if (dryRun !== true)
    await setOffsets(broker, { groupId: group, isForced: force === true }, offsets)
  const answer: z.infer<typeof ResetDone> = {
    offsets: offsets.map((at) => ({ ...at, before: before.get(partitionKey(at))?.offset ?? null })),
    dryRun: dryRun === true,
  }
  return jsonResponse(200, answer)
}

interface Place {
  readonly topic: string
  readonly partition: number
}

interface PlaceTo extends Place {
  readonly offset?: number
}

/** Where `to` names offsets, each place has its own. */
function placesOf(
  call: Call<object>,
  { to, topics, before }: Pick<Reset, 'to' | 'topics'> & { before: readonly CommittedAt[] },
): PlaceTo[] {
  if (typeof to === 'object' && 'offsets' in to) {
    if (topics !== undefined) throw badRequest('body: topics and offsets both say where')
    if (new Set(to.offsets.map(partitionKey)).size < to.offsets.length) {
      throw badRequest('body.to.offsets: a partition appears twice')
    }
    for (const at of to.offsets) checkPlace(call, at)
    return [...to.offsets]
  }
  // Of what has been deleted meanwhile nothing can be said.
  const known = before.filter(({ topic, partition }) => {
    return call.broker.topicByName(topic)?.handles[partition] !== undefined
  })
  if (topics === undefined) return known
  return [...new Set(topics)].flatMap((topic) => {
    checkPlace(call, { topic, partition: 0 })
    const { handles } = call.broker.topicByName(topic)!
    return handles.map((_, partition) => ({ topic, partition }))
  })
}

async function target(
  call: Call<object>,
  at: PlaceTo,
  to: Reset['to'],
  before: CommittedAt | undefined,
): Promise<number> {
  const name = `${at.topic}-${at.partition}`
  const bounds = await logBounds(call.broker, at)
  if (bounds === null) throw kafkaError(ErrorCode.KAFKA_STORAGE_ERROR, `${name} cannot be read`)
  const { logStartOffset, highWatermark } = bounds
  if (to === 'earliest') return logStartOffset
  if (to === 'latest') return highWatermark
  if ('timestamp' in to) {
    const found = await offsetAt(call.broker, at, to.timestamp)
    return found >= 0 ? found : highWatermark
  }
  if ('shift' in to) {
    if (before === undefined) throw badRequest(`body.to.shift: nothing is committed for ${name}`)
    return Math.min(Math.max(before.offset + to.shift, logStartOffset), highWatermark)
  }
  const offset = at.offset!
  if (offset < logStartOffset || offset > highWatermark) {
    const message = `${name} goes from ${logStartOffset} to ${highWatermark}: ${offset} is outside`
    throw kafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, message, { logStartOffset, highWatermark })
  }
  return offset
}

/** Throws RestError for a partition that is not there. */
function checkPlace({ broker }: Call<object>, { topic, partition }: Place): void {
  if (broker.topicByName(topic)?.handles[partition] !== undefined) return
  const message = `There is no ${topic}-${partition}`
  throw kafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
}
