/** The lanes of a run: producers and their connections, for either source. */
import { Client } from '../client/client.ts'
import { nodePlatform } from '../client/platform-node.ts'
import { BatchingLane } from './batching-lane.ts'
import type { Lane, LaneSink, PreparedRequest } from './driver.ts'
import { LibraryLane, type LibraryOptions } from './library-lane.ts'
import { LoadError } from './load-error.ts'
import { requestDriver } from './open-driver.ts'
import type { Payload } from './payload.ts'
import { dealPlaces, nameOf, type Place } from './place.ts'
import { PrebuiltLane } from './prebuilt-lane.ts'
import { type PrebuiltRequests, prebuild } from './prebuilt-requests.ts'
import type { ProduceSettings } from './settings.ts'
import { connectLanes } from './shared-connection.ts'

export interface LaneParts {
  readonly settings: ProduceSettings
  readonly places: readonly Place[]
  readonly payload: Payload
  readonly sink: LaneSink
  /** See `LibraryOptions`. */
  readonly stamp: LibraryOptions['stamp']
}

export interface Lanes {
  readonly lanes: readonly Lane[]
  close(): Promise<void>
}

const CONNECT_MS = 10_000

/** What is sent again and again; null for the client source. */
export function prebuiltOf(
  settings: ProduceSettings,
  places: readonly Place[],
  payload: Payload,
): Promise<PrebuiltRequests> | null {
  if (settings.source === 'client') return null
  const { inFlight, batchBytes } = settings
  const driver = requestDriver(settings, places, inFlight)
  return prebuild(driver, payload, { places: places.length, inFlight, batchBytes })
}

/** Opens all connections. Throws LoadError when one cannot be opened. */
export async function makeLanes(
  parts: LaneParts,
  prebuilt: PrebuiltRequests | null,
): Promise<Lanes> {
  if (prebuilt !== null) return await prebuiltLanes(parts, prebuilt)
  return parts.settings.driver === 'ws' ? await libraryLanes(parts) : await batchingLanes(parts)
}

async function prebuiltLanes(
  { settings, places, sink }: LaneParts,
  prebuilt: PrebuiltRequests,
): Promise<Lanes> {
  const { connections, inFlight } = settings
  const driver = requestDriver(settings, places, inFlight)
  const dealt = dealPlaces(places.length, connections)
  const lanes = dealt.map((mine, index) => {
    const requests = Array.from({ length: inFlight }, (_, slot) => inTurn(prebuilt, mine, slot))
    return new PrebuiltLane({ index, inFlight, requests }, sink)
  })
  for (const lane of lanes) lane.attach(await driver.open(lane))
  return { lanes, close: async () => {} }
}

/** A lane's requests in one slot: its places in turn, then the next variant of each. */
function inTurn(
  { requests }: PrebuiltRequests,
  places: readonly number[],
  slot: number,
): PreparedRequest[] {
  const variants = requests[places[0] as number]?.[slot]?.length ?? 0
  return Array.from({ length: variants }, (_, variant) => {
    return places.map((place) => requests[place]?.[slot]?.[variant] as PreparedRequest)
  }).flat()
}

async function batchingLanes({ settings, places, payload, sink }: LaneParts): Promise<Lanes> {
  const { producers, connections, inFlight, batchBytes, lingerMs } = settings
  const topics = placesByTopic(places)
  const perConnection = Math.ceil(producers / connections)
  const driver = requestDriver(settings, places, perConnection * inFlight)
  const lanes: BatchingLane[] = []
  const open: { close(): void }[] = []
  for (let index = 0; index < producers; index++) {
    // Lane k is on connection k mod C, there the ⌊k / C⌋th.
    const firstSlot = Math.floor(index / connections) * inFlight
    const options = { index, inFlight, batchBytes, lingerMs, topics, firstSlot }
    lanes.push(new BatchingLane(options, { driver, payload, sink }))
  }
  for (let connection = 0; connection < connections; connection++) {
    const mine = lanes.filter((_, index) => index % connections === connection)
    open.push(await connectLanes(driver, mine, inFlight))
  }
  return {
    lanes,
    close: async () => {
      for (const connection of open) connection.close()
    },
  }
}

async function libraryLanes({ settings, places, payload, sink, stamp }: LaneParts): Promise<Lanes> {
  const { url, producers, connections } = settings
  const { inFlight, batchBytes, lingerMs, acks, compression } = settings
  const topics = [...new Set(places.map(({ topic }) => topic))]
  const indexes = new Map(places.map((place, index) => [nameOf(place), index]))
  const clients = await openClients(url, connections)
  const lanes = Array.from({ length: producers }, (_, index) => {
    const options: LibraryOptions = {
      ...{ index, inFlight, batchBytes, lingerMs, acks, compression, topics, stamp },
      placeOf: (place) => indexes.get(nameOf(place)) ?? 0,
    }
    return new LibraryLane(clients[index % connections] as Client, options, { payload, sink })
  })
  return { lanes, close: () => closeClients(clients) }
}

/** Throws LoadError when one cannot connect. */
export async function openClients(url: string, count: number): Promise<Client[]> {
  const clients: Client[] = []
  try {
    for (let i = 0; i < count; i++) {
      const client = new Client({ url, clientId: 'millrace-bench' }, nodePlatform)
      clients.push(client)
      await client.connect({ signal: AbortSignal.timeout(CONNECT_MS) })
    }
    return clients
  } catch (error) {
    await closeClients(clients)
    throw new LoadError(`no connection to ${url}`, error)
  }
}

export async function closeClients(clients: readonly Client[]): Promise<void> {
  await Promise.allSettled(clients.map((client) => client.close()))
}

function placesByTopic(places: readonly Place[]): number[][] {
  const byTopic = new Map<string, number[]>()
  for (const [index, { topic }] of places.entries()) {
    byTopic.set(topic, [...(byTopic.get(topic) ?? []), index])
  }
  return [...byTopic.values()]
}
