// The AWS SDK for JavaScript: one client, and any of its commands by name. Bytes travel as {"bytes": base64}.

const kms = require("@aws-sdk/client-kms");
const { answerLines } = require("../answering.cjs");

const client = new kms.KMSClient();

const fromWire = (value) => (value?.bytes === undefined ? value : Buffer.from(value.bytes, "base64"));
const toWire = (value) =>
  value instanceof Uint8Array ? { bytes: Buffer.from(value).toString("base64") } : value;
const members = (given, change) => Object.fromEntries(Object.entries(given).map(([name, value]) => [name, change(value)]));

answerLines({
  send: async ({ command, input }) => {
    const { $metadata, ...output } = await client.send(new kms[command](members(input, fromWire)));
    return members(output, toWire);
  },

  // The class of the error that a command ends in, and whether the SDK made it of its own class of that name.
  refusal: async ({ command, input }) => {
    try {
      await client.send(new kms[command](members(input, fromWire)));
    } catch (error) {
      const known = kms[error.name];
      return { name: error.name, text: error.message, ofItsClass: known !== undefined && error instanceof known };
    }
    throw new Error(`${command} was not refused`);
  },

  // What the SDK's own paginator finds, page by page.
  pages: async ({ paginator, member, pageSize }) => {
    const found = [];
    for await (const page of kms[paginator]({ client, pageSize }, {})) found.push(page[member]);
    return found;
  },
});
