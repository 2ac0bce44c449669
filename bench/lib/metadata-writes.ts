/**
 * How long a cluster takes no change of its metadata: a topic is to be created, through each of the
 * brokers that are left.
 */
import { sleep } from './children.ts'
import { type Place, ProbeConnections } from './probe-connection.ts'

const PAUSE_MS = 10
const GIVE_UP_MS = 20_000
/** What was passed on to a controller that says nothing is asked again after that. */
const REQUEST_MS = 300

export interface MetadataOutage {
  /** Until a broker named another active controller than `lost`; NaN: never. */
  readonly electedMs: number
  /** Until a topic was created; NaN: never. */
  readonly writtenMs: number
}

let topics = 0

/**
 * Counts from now on. `lost`: the controller that was active. Each broker is asked two things at a
 * time, who the controller is and for a topic, each on a connection of its own.
 */
export async function untilMetadataIsTaken(
  places: readonly Place[],
  lost: number,
): Promise<MetadataOutage> {
  const startedMs = performance.now()
  const isLate = (): boolean => performance.now() - startedMs > GIVE_UP_MS
  const looks = new ProbeConnections()
  const elected = async (): Promise<number> => {
    while (!isLate()) {
      const named = await Promise.all(places.map((place) => controllerOf(looks, place)))
      // One that knows of none names itself.
      const [first = -1] = named
      if (first >= 0 && first !== lost && named.every((id) => id === first)) {
        return performance.now() - startedMs
      }
      await sleep(PAUSE_MS)
    }
    return Number.NaN
  }
  const writes = new ProbeConnections()
  let writtenMs = Number.NaN
  const write = async (place: Place): Promise<void> => {
    while (Number.isNaN(writtenMs) && !isLate()) {
      const isCreated = await create(writes, place)
      if (isCreated && Number.isNaN(writtenMs)) writtenMs = performance.now() - startedMs
      await sleep(PAUSE_MS)
    }
  }
  const [electedMs] = await Promise.all([elected(), ...places.map(write)])
  looks.close()
  writes.close()
  return { electedMs, writtenMs }
}

/** −1: it says nothing. */
async function controllerOf(connections: ProbeConnections, place: Place): Promise<number> {
  try {
    const connection = await connections.to(place)
    const body = { topics: [], allowAutoTopicCreation: false }
    return (await connection.request(3, body, { timeoutMs: REQUEST_MS })).controllerId
  } catch {
    return -1
  }
}

async function create(connections: ProbeConnections, place: Place): Promise<boolean> {
  try {
    const connection = await connections.to(place)
    const name = `failover-metadata-${++topics}`
    const topic = { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
    const body = { topics: [topic], timeoutMs: REQUEST_MS }
    const answer = await connection.request(19, body, { timeoutMs: REQUEST_MS })
    return answer.topics[0]?.errorCode === 0
  } catch {
    return false
  }
}
