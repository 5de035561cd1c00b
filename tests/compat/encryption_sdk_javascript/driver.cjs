// The AWS Encryption SDK for JavaScript: its KMS keyring, and its cache of data keys.

const {
  buildClient,
  CommitmentPolicy,
  getLocalCryptographicMaterialsCache,
  KmsKeyringNode,
  NodeCachingMaterialsManager,
} = require("@aws-crypto/client-node");
const { answerLines } = require("../answering.cjs");

const client = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);

// A keyring whose first key makes data keys and whose others wrap them as well.
const keyring = ([generatorKeyId, ...keyIds]) => new KmsKeyringNode({ generatorKeyId, keyIds });

const sealed = async (materials, plaintext, encryptionContext) =>
  (await client.encrypt(materials, plaintext, { encryptionContext })).result.toString("base64");

answerLines({
  encrypt: ({ keys, plaintext, context }) => sealed(keyring(keys), plaintext, context),

  decrypt: async ({ keys, message }) => {
    const { plaintext, messageHeader } = await client.decrypt(keyring(keys), Buffer.from(message, "base64"));
    return [plaintext.toString(), messageHeader.encryptionContext];
  },

  encrypt_cached: async ({ keys, plaintexts, context }) => {
    const manager = new NodeCachingMaterialsManager({
      backingMaterials: keyring(keys),
      cache: getLocalCryptographicMaterialsCache(10),
      maxAge: 600_000,
    });
    const messages = [];
    for (const plaintext of plaintexts) messages.push(await sealed(manager, plaintext, context));
    return messages;
  },
});
