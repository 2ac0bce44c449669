/** Consumers by driver. */
import type { ConsumerLane, ConsumerOptions, ConsumerSink } from './consumer-lane.ts'
import { KafkaConsumer } from './kafka/kafka-consumer.ts'
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
          ? await KafkaConsumer.open(kafka, options, sink)
          : await WebSocketConsumer.open(url, options, sink),
      )
    }
    return lanes
  } catch (error) {
    await closeConsumers(lanes)
    throw error
  }
}

export async function closeConsumers(lanes: readonly ConsumerLane[]): Promise<void> {
  await Promise.allSettled(lanes.map((lane) => lane.close()))
}
