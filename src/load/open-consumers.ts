/** Consumers by driver. */
import type { ConsumerLane, ConsumerOptions, ConsumerSink } from './consumer-lane.ts'
import { KafkaConsumer } from './kafka/kafka-consumer.ts'
import type { Address } from './load-socket.ts'
import { dealPlaces } from './place.ts'
import type { TargetSettings } from './settings.ts'
import { WebSocketConsumer } from './websocket/web-socket-consumer.ts'

export type ConsumerPlan = Omit<ConsumerOptions, 'mine'> & { readonly consumers: number }

/** Opens `consumers` connections that share all places; with more consumers some share a place. */
export async function openConsumers(
  { driver, kafka, url }: TargetSettings,
  plan: ConsumerPlan,
  sink: ConsumerSink,
): Promise<ConsumerLane[]> {
  const lanes: ConsumerLane[] = []
  try {
    for (const mine of dealPlaces(plan.places.length, plan.consumers)) {
      const options = { ...plan, mine }
      lanes.push(
        driver === 'kafka'
          ? await openKafka(kafka, options, sink)
          : await WebSocketConsumer.open(url, options, sink),
      )
    }
    return lanes
  } catch (error) {
    await closeConsumers(lanes)
    throw error
  }
}

/** One connection to each broker that leads some of its places. */
async function openKafka(
  address: Address,
  options: ConsumerOptions,
  sink: ConsumerSink,
): Promise<ConsumerLane> {
  const byLeader = new Map<string, { at: Address; mine: number[] }>()
  for (const index of options.mine) {
    const at = options.places[index]?.leader ?? address
    const key = `${at.host}:${at.port}`
    const group = byLeader.get(key) ?? { at, mine: [] }
    byLeader.set(key, group)
    group.mine.push(index)
  }
  const parts: KafkaConsumer[] = []
  for (const { at, mine } of byLeader.values()) {
    parts.push(await KafkaConsumer.open(at, { ...options, mine }, sink))
  }
  return {
    start: () => {
      for (const part of parts) part.start()
    },
    close: () => {
      for (const part of parts) part.close()
    },
  }
}

export async function closeConsumers(lanes: readonly ConsumerLane[]): Promise<void> {
  await Promise.allSettled(lanes.map((lane) => lane.close()))
}
