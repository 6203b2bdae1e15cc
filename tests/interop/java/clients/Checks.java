import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Callable;

/**
 * What a suite in Java is made of: checks that print one line each,
 * `ok NAME: DETAIL` or `FAILED NAME: WHY`, which tests/interop/run counts.
 *
 * Record number i is always the same bytes and always goes to partition i mod
 * 3, so a reader knows what it must see next in each partition.
 */
final class Checks {
    static final int PARTITIONS = 3;
    static final short REPLICAS = 3;
    static final int RECORDS = 10_000;
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final String RUN = System.getenv("RUN");

    static boolean failed;

    private Checks() {}

    static String key(int i) {
        return "key-" + i;
    }

    static String value(int i) {
        return "value-" + i + "-" + "x".repeat(i % 100);
    }

    static void check(String name, Callable<String> work) {
        try {
            String detail = work.call();
            System.out.println("ok " + name + (detail == null ? "" : ": " + detail));
        } catch (Exception | AssertionError error) {
            failed = true;
            System.out.println("FAILED " + name + ": " + error.toString().replaceAll("\\s+", " "));
            error.printStackTrace();
        }
    }

    static void equal(Object got, Object want, String what) {
        if (!Objects.equals(got, want)) {
            throw new AssertionError(what + ": " + got + ", not " + want);
        }
    }

    static void until(Callable<Boolean> condition, int seconds, String why) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError(why + " after " + seconds + " s");
            }
            Thread.sleep(20);
        }
    }

    /** The work has to fail with an exception of this class, bare or as a cause. */
    static void refused(Callable<?> work, Class<?> with) throws Exception {
        try {
            work.call();
        } catch (Exception error) {
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                if (with.isInstance(cause)) {
                    return;
                }
            }
            throw error;
        }
        throw new AssertionError("not refused with " + with.getSimpleName());
    }

    /** Calls whichever of some methods this version of the client has. */
    static Object any(Object target, String[] names, Object... arguments) throws Exception {
        for (String name : names) {
            for (Method method : target.getClass().getMethods()) {
                if (method.getName().equals(name) && fits(method, arguments)) {
                    method.setAccessible(true);
                    return method.invoke(target, arguments);
                }
            }
        }
        throw new AssertionError("no method of " + Arrays.toString(names));
    }

    private static boolean fits(Method method, Object[] arguments) {
        Class<?>[] types = method.getParameterTypes();
        if (types.length != arguments.length) {
            return false;
        }
        for (int i = 0; i < types.length; i++) {
            if (!types[i].isInstance(arguments[i])) {
                return false;
            }
        }
        return true;
    }
}
