import software.amazon.encryption.s3.CommitmentPolicy;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.algorithms.AlgorithmSuite;

/** Version 4 of the client: the suite to write with, the policy to read by. */
final class Client {
    private Client() {}

    static S3EncryptionClient.Builder builder(boolean commit, String policy) {
        if (policy.equals("require")) {
            return with(AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY, CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
        }
        return commit
                ? with(AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY, CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT)
                : with(AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF, CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT);
    }

    private static S3EncryptionClient.Builder with(AlgorithmSuite suite, CommitmentPolicy policy) {
        return S3EncryptionClient.builderV4().encryptionAlgorithm(suite).commitmentPolicy(policy);
    }
}
