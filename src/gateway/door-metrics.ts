import { type Exposition, labelText } from '../metrics/exposition.ts'
import { Complaints } from './complaints.ts'
import type { KafkaListener } from './kafka-listener.ts'
import type { WebServer } from './web/web-server.ts'
import type { WebSocketDoor } from './websocket/websocket-door.ts'

/** What `/metrics` says of the doors. Runs on main. */
export interface Doors {
  readonly kafka: KafkaListener | null
  readonly web: WebServer | null
  readonly webSockets: WebSocketDoor | null
  readonly complaints: readonly Complaints[]
  readonly logLines: { readonly dropped: number } | null
}

export function writeDoorMetrics(doors: Doors, exposition: Exposition): void {
  const { kafka, web, webSockets, complaints, logLines } = doors
  const sessions = webSockets?.connectionCount ?? 0
  const connections = [
    ['kafka', kafka?.connectionCount ?? 0],
    // Upgraded ones count among those of HTTP.
    ['rest', Math.max(0, (web?.connectionCount ?? 0) - sessions)],
    ['websocket', sessions],
  ] as const
  exposition.begin('millrace_connections')
  for (const [door, count] of connections) exposition.put(count, labelText({ door }))
  exposition.begin('millrace_connections_accepted_total')
  exposition.put(kafka?.acceptedCount ?? 0, labelText({ door: 'kafka' }))
  exposition.put(webSockets?.acceptedCount ?? 0, labelText({ door: 'websocket' }))
  exposition.single('millrace_connections_stalled', kafka?.stalledCount ?? 0)
  Complaints.write(complaints, exposition)
  exposition.single('millrace_log_lines_dropped_total', logLines?.dropped ?? 0)
  if (webSockets === null) return
  exposition.single('millrace_websocket_subscriptions', webSockets.subscriptionCount)
  exposition.single('millrace_websocket_requests', webSockets.requestCount)
  exposition.single('millrace_websocket_credit_bytes', webSockets.creditsGranted)
  exposition.single('millrace_websocket_credit_limit_bytes', webSockets.creditsMax)
  exposition.single('millrace_websocket_waiting_sessions', webSockets.waitingCount)
}
