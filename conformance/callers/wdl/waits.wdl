version 1.0

# Goes on until miniwdl is told to end.
task waits {
    input {
        String mark
    }
    command <<<
        touch started
        exec sleep ~{mark}
    >>>
    runtime {
        docker: "docker.io/debian:stable-slim"
    }
}
