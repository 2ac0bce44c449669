import type { MetadataStore } from './metadata-store.ts'

/**
 * Hands out producer ids from blocks that the metadata log has reserved, so that no id is given
 * twice in the life of a cluster (KIP-730). One record per thousand ids.
 */
const BLOCK = 1000

export class ProducerIds {
  readonly #store: MetadataStore
  readonly #nodeId: number
  #next = 0
  #end = 0
  #refill: Promise<void> | null = null

  constructor(store: MetadataStore, nodeId: number) {
    this.#store = store
    this.#nodeId = nodeId
  }

  /** A fresh id. Throws BrokerError when the metadata log refuses. */
  async allocate(): Promise<number> {
    while (this.#next === this.#end) {
      this.#refill ??= this.#reserve().finally(() => {
        this.#refill = null
      })
      await this.#refill
    }
    return this.#next++
  }

  async #reserve(): Promise<void> {
    const start = await this.#store.change((image) => {
      const first = image.nextProducerId
      const record = {
        type: 'producer-ids',
        brokerId: this.#nodeId,
        nextProducerId: first + BLOCK,
      } as const
      return { records: [record], result: first }
    })
    this.#next = start
    this.#end = start + BLOCK
  }
}
