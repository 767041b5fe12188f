import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Map;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.internal.InstructionFileConfig;
import software.amazon.encryption.s3.materials.AesKeyring;
import software.amazon.encryption.s3.materials.Keyring;
import software.amazon.encryption.s3.materials.KmsKeyring;
import software.amazon.encryption.s3.materials.RsaKeyring;

/** The servers of the environment, and the plain clients that all commands share. */
final class World {
    final String bucket;
    private final S3Client s3;
    private final S3Client files; // reads and writes instruction files
    private final S3AsyncClient async;
    private final KmsClient kms;

    World(Map<String, String> env) throws Exception {
        bucket = env.get("INTEROP_BUCKET");
        URI endpoint = URI.create(env.get("AWS_ENDPOINT_URL"));
        TrustManager[] trust = trust(Path.of(env.get("AWS_CA_BUNDLE")));
        s3 = client(endpoint, ApacheHttpClient.builder().tlsTrustManagersProvider(() -> trust));
        // The encryption client never closes the answer that an instruction file came with.
        files = client(endpoint, ApacheHttpClient.builder().tlsTrustManagersProvider(() -> trust).maxConnections(10_000));
        async = S3AsyncClient.builder().endpointOverride(endpoint).forcePathStyle(true)
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().tlsTrustManagersProvider(() -> trust)).build();
        kms = KmsClient.builder().endpointOverride(URI.create(env.get("AWS_ENDPOINT_URL_KMS")))
                .httpClientBuilder(ApacheHttpClient.builder()).build();
    }

    private static S3Client client(URI endpoint, ApacheHttpClient.Builder http) {
        return S3Client.builder().endpointOverride(endpoint).forcePathStyle(true).httpClientBuilder(http).build();
    }

    /** The client that a command speaks to. */
    S3EncryptionClient client(Command c) {
        try {
            return Client.builder(c.commit, c.policy).wrappedClient(s3).wrappedAsyncClient(async)
                    .keyring(keyring(c)).instructionFileConfig(instructions(c)).build();
        } catch (GeneralSecurityException e) {
            throw new IllegalArgumentException(e);
        }
    }

    private Keyring keyring(Command c) throws GeneralSecurityException {
        switch (c.keyring) {
            case "kms":
                return KmsKeyring.builder().kmsClient(kms).wrappingKeyId(c.secret).build();
            case "aes":
                return AesKeyring.builder().wrappingKey(c.aesKey()).materialsDescription(c.description()).build();
            case "rsa":
                return RsaKeyring.builder().wrappingKeyPair(c.rsaKey()).materialsDescription(c.description()).build();
            default:
                throw new IllegalArgumentException(c.keyring);
        }
    }

    private InstructionFileConfig instructions(Command c) {
        InstructionFileConfig.Builder b = InstructionFileConfig.builder();
        return c.instruction
                ? b.instructionFileClient(files).enableInstructionFilePutObject(true).build()
                : b.disableInstructionFile(true).build();
    }

    /** Trusts the one CA in the PEM file, which was made for the test. */
    private static TrustManager[] trust(Path ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(ca)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory f = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        f.init(store);
        return f.getTrustManagers();
    }
}
