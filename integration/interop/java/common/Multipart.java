import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.model.CompletedPart;
import software.amazon.awssdk.services.s3.model.SdkPartType;
import software.amazon.encryption.s3.S3EncryptionClient;

/** The client's multipart upload: parts in order, the last one named as such. */
final class Multipart {
    private Multipart() {}

    static void put(S3EncryptionClient client, String bucket, Command c) throws IOException {
        byte[] all = Files.readAllBytes(Path.of(c.file));
        String id = client.createMultipartUpload(b -> b.bucket(bucket).key(c.key).overrideConfiguration(c.context())).uploadId();
        List<CompletedPart> parts = new ArrayList<>();
        for (int from = 0; from < all.length; from += c.part) {
            byte[] body = Arrays.copyOfRange(all, from, Math.min(all.length, from + c.part));
            boolean last = from + c.part >= all.length;
            int number = parts.size() + 1;
            String etag = client.uploadPart(b -> b.bucket(bucket).key(c.key).uploadId(id).partNumber(number)
                    .contentLength((long) body.length).sdkPartType(last ? SdkPartType.LAST : SdkPartType.DEFAULT),
                    RequestBody.fromBytes(body)).eTag();
            parts.add(CompletedPart.builder().partNumber(number).eTag(etag).build());
        }
        client.completeMultipartUpload(b -> b.bucket(bucket).key(c.key).uploadId(id).multipartUpload(u -> u.parts(parts)));
    }
}
