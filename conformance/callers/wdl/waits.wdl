version 1.0

# Goes on until miniwdl is told to end.
task waits {
    input {
        String mark
    }
    command <<<
        sleep ~{mark}
    >>>
    runtime {
        docker: "docker.io/debian:stable-slim"
    }
}
