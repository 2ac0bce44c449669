/** The drivers by name. */
import type { Control } from './control.ts'
import type { RequestDriver } from './driver.ts'
import { KafkaControl } from './kafka/kafka-control.ts'
import { KafkaRequests } from './kafka/kafka-requests.ts'
import type { Place } from './place.ts'
import { RestRequests } from './rest/rest-requests.ts'
import type { ProduceSettings, TargetSettings } from './settings.ts'
import { WebSocketControl } from './websocket/web-socket-control.ts'
import { WebSocketRequests } from './websocket/web-socket-requests.ts'

/** Throws LoadError or ConnectionError when nobody answers. */
export function openControl({ driver, kafka, url }: TargetSettings): Promise<Control> {
  if (driver === 'kafka') return KafkaControl.open(kafka)
  return WebSocketControl.open(driver === 'ws' ? url : webSocketBeside(url))
}

/** The slots of one connection: each request under way has one. */
export function requestDriver(
  settings: ProduceSettings,
  places: readonly Place[],
  slots: number,
): RequestDriver {
  const { driver, kafka, url, acks, compression } = settings
  const options = { places, acks, compression }
  if (driver === 'kafka') return new KafkaRequests(kafka, options)
  if (driver === 'ws') return new WebSocketRequests({ ...options, url, inFlight: slots })
  return new RestRequests({ url, places })
}

/** REST has no door for topics and offsets yet: the other one on the same port has. */
function webSocketBeside(url: string): string {
  const beside = new URL('/ws', url)
  beside.protocol = beside.protocol === 'https:' ? 'wss:' : 'ws:'
  return beside.href
}
