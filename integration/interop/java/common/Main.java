import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLException;
import software.amazon.awssdk.core.ResponseInputStream;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.protocols.jsoncore.JsonWriter;
import software.amazon.awssdk.services.s3.model.GetObjectResponse;
import software.amazon.encryption.s3.S3EncryptionClient;

/**
 * Puts and gets objects with AWS's S3 Encryption Client: a JSON command a line
 * on stdin, a JSON answer a line on stdout. What a command holds stands in
 * Command; an answer is {"error": text, "broken": whether it is the network's
 * error rather than the client's refusal}, or {} when all went well.
 */
public final class Main {
    private static final int PATIENCE = 60; // seconds for a command

    private Main() {}

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err); // what libraries print is no answer
        World world = new World(System.getenv());
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = commands.readLine()) != null; ) {
            answers.println(answer(world, line));
        }
    }

    private static String answer(World world, String line) {
        JsonWriter out = JsonWriter.create().writeStartObject();
        try {
            Command c = new Command(JsonNode.parser().parse(line));
            CompletableFuture.runAsync(() -> run(world, c)).get(PATIENCE, TimeUnit.SECONDS); // it may wait for ever
        } catch (Exception wrapped) {
            Throwable e = wrapped instanceof ExecutionException ? wrapped.getCause() : wrapped;
            out.writeFieldName("error").writeValue(describe(e));
            out.writeFieldName("broken").writeValue(broken(root(e)));
        }
        return new String(out.writeEndObject().getBytes(), StandardCharsets.UTF_8);
    }

    private static void run(World world, Command c) {
        try {
            perform(world, c);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void perform(World world, Command c) throws IOException {
        S3EncryptionClient client = world.client(c); // not closed: that would close what it wraps
        if (c.op.equals("get")) {
            get(client, world.bucket, c);
        } else if (c.part > 0) {
            Multipart.put(client, world.bucket, c);
        } else {
            client.putObject(b -> b.bucket(world.bucket).key(c.key).overrideConfiguration(c.context()),
                    RequestBody.fromFile(Path.of(c.file)));
        }
    }

    private static void get(S3EncryptionClient client, String bucket, Command c) throws IOException {
        try (ResponseInputStream<GetObjectResponse> body =
                client.getObject(b -> b.bucket(bucket).key(c.key).overrideConfiguration(c.context()))) {
            Files.write(Path.of(c.file), body.readAllBytes());
        }
    }

    private static boolean broken(Throwable e) {
        return e instanceof TimeoutException || e instanceof SocketException || e instanceof SSLException
                || e instanceof SocketTimeoutException || e instanceof UnknownHostException;
    }

    private static Throwable root(Throwable e) {
        return e.getCause() == null ? e : root(e.getCause());
    }

    private static String describe(Throwable e) {
        return e.getCause() == null ? e.toString() : e + ": " + describe(e.getCause());
    }
}
