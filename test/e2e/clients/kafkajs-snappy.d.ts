declare module 'kafkajs-snappy' {
  interface Codec {
    compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
    decompress(bytes: Buffer): Promise<Buffer>
  }
  const snappyCodec: () => Codec
  // biome-ignore lint/style/noDefaultExport: the package exports it so.
  export default snappyCodec
}
