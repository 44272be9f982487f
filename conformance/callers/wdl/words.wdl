version 1.0

# Counts the words of each file in one container, adds them up in another, and says as whom and where.
workflow words {
    input {
        Array[File] samples
    }
    scatter (sample in samples) {
        call count { input: sample = sample }
    }
    call total { input: counts = count.words }
    output {
        Array[Int] counts = count.words
        Array[String] places = count.place
        File sums = total.sums
    }
}

task count {
    input {
        File sample
    }
    command <<<
        wc -w < "~{sample}"
        echo "$PWD, user $(id -u)" > place
        # An input is the caller's: whoever may write to it breaks what others read.
        echo spoiled 2> /dev/null >> "~{sample}"
        true
    >>>
    output {
        Int words = read_int(stdout())
        String place = read_string("place")
    }
    runtime {
        docker: "docker.io/debian:stable-slim"
        memory: "256 MiB"
        cpu: 1
    }
}

task total {
    input {
        Array[Int] counts
    }
    command <<<
        python3 -c 'print(~{sep=" + " counts})' > "sum of all.txt"
        mkdir made && ln -s "../sum of all.txt" made/link
    >>>
    output {
        File sums = "made/link"
    }
    runtime {
        docker: "docker.io/python:3-slim"
    }
}
