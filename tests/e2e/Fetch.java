import java.net.URI;
import java.net.http.*;

/** A program that uses Java's own client: prints what a URL answers. */
class Fetch {
    public static void main(String[] arguments) throws Exception {
        var body = HttpRequest.BodyPublishers.ofString(arguments[1]);
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).POST(body).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.printf("{\"status\": %d, \"body\": \"%s\"}%n", answer.statusCode(), answer.body());
    }
}
