import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Base64;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after another in one virtual machine: to start one for each
 * costs seconds. A line of the input is a class and its arguments, each in base64; the answer is
 * the exit code and everything that was printed, in base64.
 */
public final class ToolServer {
    /** Thrown where a tool would end its process. Some catch it: what follows does not count. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;

        Ended() {
            super(null, null, false, false);
        }
    }

    private static final ByteArrayOutputStream PRINTED = new ByteArrayOutputStream();
    /** Of the first attempt to end; null before it. */
    private static Integer status;
    private static byte[] output;

    private ToolServer() {
    }

    public static void main(String[] unused) throws Exception {
        final PrintStream answers = System.out;
        System.setOut(new PrintStream(PRINTED, true, StandardCharsets.UTF_8));
        System.setErr(System.out);
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        final BufferedReader requests =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            final String[] words = Arrays.stream(line.split(" "))
                .map(word -> new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8))
                .toArray(String[]::new);
            run(words[0], Arrays.copyOfRange(words, 1, words.length));
            answers.println(status + " " + Base64.getEncoder().encodeToString(output));
            answers.flush();
        }
    }

    private static void run(String name, String[] args) throws Exception {
        PRINTED.reset();
        status = null;
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            settle(0);
        } catch (InvocationTargetException failure) {
            failure.getCause().printStackTrace();
            settle(1);
        }
    }

    private static void end(int code) {
        settle(code);
        throw new Ended();
    }

    private static void settle(int code) {
        if (status == null) {
            System.out.flush();
            status = code;
            output = PRINTED.toByteArray();
        }
    }
}
