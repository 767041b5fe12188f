import software.amazon.encryption.s3.S3EncryptionClient;

/** Version 3 of the client writes without key commitment, and knows no policy. */
final class Client {
    private Client() {}

    static S3EncryptionClient.Builder builder(boolean commit, String policy) {
        if (commit || !policy.equals("allow")) {
            throw new UnsupportedOperationException("version 3 has no key commitment");
        }
        return S3EncryptionClient.builder();
    }
}
