import type { DemoBroker } from './demo.ts'

/** A broker on free ports and a temporary directory. Loaded only when it is wanted. */
export async function startDemoBroker(): Promise<DemoBroker> {
  const { startBroker } = await import('../gateway/embedded-broker.ts')
  return startBroker()
}
