import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.interfaces.RSAPrivateCrtKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.RSAPublicKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import javax.crypto.SecretKey;
import javax.crypto.spec.SecretKeySpec;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.materials.MaterialsDescription;
import software.amazon.encryption.s3.materials.PartialRsaKeyPair;

/** One command, as command_test.go writes it. */
final class Command {
    final String op;           // put or get
    final String key;          // of the object
    final String file;         // holds the plaintext, or shall
    final String keyring;      // kms, aes or rsa
    final String secret;       // KMS key id, or base64 of the AES key, or of the RSA key in PKCS #8
    final boolean commit;      // write with suite 115 rather than 114
    final String policy;       // for reading: allow or require commitment
    final boolean instruction; // use instruction files
    final int part;            // size of multipart's parts; 0 for one PUT
    private final Map<String, String> context = new HashMap<>(); // KMS's, or the material description

    Command(JsonNode json) {
        Map<String, JsonNode> o = json.asObject();
        op = o.get("op").asString();
        key = o.get("key").asString();
        file = o.get("file").asString();
        keyring = o.get("keyring").asString();
        secret = o.get("secret").asString();
        commit = o.get("commit").asBoolean();
        policy = o.get("policy").asString();
        instruction = o.get("instruction").asBoolean();
        part = Integer.parseInt(o.get("part").asNumber());
        o.get("context").asObject().forEach((name, value) -> context.put(name, value.asString()));
    }

    /** With a KMS key the context goes with the request, otherwise with the keyring. */
    Consumer<AwsRequestOverrideConfiguration.Builder> context() {
        return keyring.equals("kms") ? S3EncryptionClient.withAdditionalConfiguration(context) : b -> {};
    }

    MaterialsDescription description() {
        return MaterialsDescription.builder().putAll(context).build();
    }

    SecretKey aesKey() {
        return new SecretKeySpec(Base64.getDecoder().decode(secret), "AES");
    }

    PartialRsaKeyPair rsaKey() throws GeneralSecurityException {
        KeyFactory rsa = KeyFactory.getInstance("RSA");
        RSAPrivateCrtKey key = (RSAPrivateCrtKey) rsa.generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(secret)));
        return new PartialRsaKeyPair(key, rsa.generatePublic(new RSAPublicKeySpec(key.getModulus(), key.getPublicExponent())));
    }
}
